// Shows what the sandbox sends. Everything that came from outside is put in as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
let last = null;

function cell(content, kind) {
  const td = document.createElement("td");
  td.textContent = content === null || content === undefined ? "" : String(content);
  if (kind) td.className = kind;
  return td;
}

function fill(id, rows) {
  const body = byId(id).tBodies[0];
  const made = rows.map(({ cells, over }) => {
    const tr = document.createElement("tr");
    if (over) tr.className = "over";
    for (const [content, kind] of cells) tr.append(cell(content, kind));
    return tr;
  });
  if (made.length === 0) {
    const tr = document.createElement("tr");
    const td = cell("none", "none");
    td.colSpan = byId(id).tHead.rows[0].cells.length;
    tr.append(td);
    made.push(tr);
  }
  body.replaceChildren(...made);
}

const time = (millis) => (millis ? new Date(millis).toLocaleTimeString([], { hour12: false }) : "");
const statusKind = (status) => ({ RUNNING: "good", STOPPED: "", connected: "good", ended: "" })[status] ?? "busy";
const healthKind = (health) => ({ HEALTHY: "good", UNHEALTHY: "bad" })[health] ?? "";

function containers(task) {
  return task.containers
    .map((it) => {
      const code = it.exitCode === null ? "" : ` ${it.exitCode}`;
      const agent = it.agent === null ? "" : `, exec ${it.agent.toLowerCase()}`;
      return `${it.name} ${it.status.toLowerCase()}${code}${agent}`;
    })
    .join("; ");
}

function show(now) {
  last = now;
  const speed = now.clockSpeed > 1 ? `, clock ${now.clockSpeed} times as fast` : "";
  byId("facts").textContent = `${now.endpoint}, account ${now.account}, ${now.region}${speed}`;
  const census = now.census;
  const shown = now.tasks.length;
  byId("count").textContent = `${census.tasks} not stopped, ${shown} shown`;
  fill("services", now.services.map((it) => ({
    cells: [
      [`${it.cluster}/${it.name}`], [it.definition], [it.desired],
      [it.running, it.running === it.desired ? "good" : "busy"], [it.pending], [it.deployments], [it.event],
    ],
    over: it.status === "INACTIVE",
  })));
  fill("tasks", now.tasks.map((it) => ({
    cells: [
      [`${it.cluster}/${it.id}`], [it.group], [it.definition], [it.status, statusKind(it.status)],
      [it.health, healthKind(it.health)], [containers(it)], [time(it.created)], [it.reason],
    ],
    over: it.status === "STOPPED",
  })));
  fill("sessions", now.sessions.map((it) => ({
    cells: [[it.id], [it.target], [it.document], [it.status, statusKind(it.status)], [time(it.started)], [time(it.ended)]],
    over: it.status === "ended",
  })));
  fill("calls", now.calls.map((it) => ({
    cells: [
      [time(it.at)], [it.account], [it.principal], [it.operation],
      [it.outcome, it.outcome.startsWith("2") || it.outcome.startsWith("1") ? "" : "bad"], [it.ms],
    ],
  })));
  showLogs();
}

function showLogs() {
  const wanted = byId("filter").value;
  const lines = last.logs.filter((it) => `${it.group} ${it.stream} ${it.text}`.includes(wanted));
  fill("logs", lines.map((it) => ({ cells: [[time(it.at)], [it.group], [it.stream], [it.text]] })));
}

byId("filter").addEventListener("input", () => last && showLogs());

function state(text, kind) {
  byId("state").textContent = text;
  byId("state").className = kind;
}

const events = new EventSource("/_sandbox/events");
events.onopen = () => state("live", "good");
events.onmessage = (event) => show(JSON.parse(event.data));
events.onerror = () => state("the sandbox does not answer", "bad");
