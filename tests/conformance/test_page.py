"""The sandbox's page in a browser: it shows what happens while it happens, and nothing that it shows can act."""

import json
import os
import subprocess

import boto3
import pytest

import browser


@pytest.fixture
def sandbox(bowline, tmp_path):
    """One in the background, as `up -d` starts it; its status and its variables."""
    run = tmp_path / "run"
    run.mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(run)}

    def call(*words):
        done = subprocess.run([bowline, "sandbox", *words], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    status = json.loads(call("up", "-d", "-o", "json"))
    try:
        status["env"] = json.loads(call("env", "-o", "json"))
        status["call"] = call
        yield status
    finally:
        call("down")


@pytest.fixture
def page():
    """Without a browser this fails: .ci/run installs one."""
    assert browser.program(), "no chromium and no chrome on PATH"
    page = browser.Browser()
    yield page
    page.close()


def rows(table):
    return f"[...document.querySelectorAll('#{table} tbody tr')].map((it) => it.innerText).join('\\n')"


def test_it_shows_what_happens_while_it_happens(sandbox, page):
    env = sandbox["env"]
    ecs = boto3.client(
        "ecs", endpoint_url=env["AWS_ENDPOINT_URL"], region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
    page.open(sandbox["page"])
    page.wait_for("document.getElementById('state').textContent === 'live'")
    page.wait_for(f"{rows('tasks')}.split('RUNNING').length === 3")
    assert page.value("location.href").endswith("/_sandbox/"), "the key stays in the address bar"
    assert page.value("document.cookie") == "", "scripts can read the key"

    # What a container prints is text.
    script = "echo '<img src=x onerror=\"document.title=1\"><script>document.title=2</script>'"
    network = {"awsvpcConfiguration": {"subnets": ["subnet-0a1b2c3d4e5f60001"]}}
    overrides = {"containerOverrides": [{"name": "job", "command": ["sh", "-c", script]}]}
    ecs.run_task(
        cluster="demo", taskDefinition="job", networkConfiguration=network, overrides=overrides,
    )
    page.wait_for(f"{rows('logs')}.includes('<img src=x onerror=')")
    page.wait_for(f"{rows('calls')}.includes('ecs.RunTask')")
    page.wait_for(f"{rows('tasks')}.includes('Essential container in task exited')")
    task = ecs.list_tasks(cluster="demo", serviceName="web")["taskArns"][0]
    session = ecs.execute_command(cluster="demo", task=task, command="sleep 60", interactive=True)["session"]
    page.wait_for(f"{rows('sessions')}.includes('{session['sessionId']}')")
    page.value("document.getElementById('filter').value = 'no such line'; document.getElementById('filter').dispatchEvent(new Event('input'))")
    assert page.value(rows("logs")) == "none"

    assert page.value("document.title") == "bowline sandbox"
    assert page.value("document.querySelectorAll('main img, main script, main b').length") == 0
    text = page.value("document.documentElement.outerHTML")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert env[name] not in text
    assert session["tokenValue"] not in text

    sandbox["call"]("reset")
    page.wait_for(f"!{rows('sessions')}.includes('{session['sessionId']}')")
    requests = [it["params"]["request"]["url"] for it in page.events if it["method"] == "Network.requestWillBeSent"]
    assert requests and all(url.startswith(env["AWS_ENDPOINT_URL"]) or url.startswith("data:") for url in requests)
    wrong = [it for it in page.events if it["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    assert not wrong, wrong


def test_no_other_page_can_read_or_frame_it(sandbox, page, tmp_path):
    page.open(sandbox["page"])
    page.wait_for("document.getElementById('state').textContent === 'live'")
    root = sandbox["endpoint"] + "/_sandbox/"
    other = tmp_path / "other.html"
    other.write_text(
        f"<title>other</title><iframe src='{root}'></iframe><script>"
        f"window.got = 'waiting'; fetch('{root}now', {{credentials: 'include'}})"
        ".then((it) => it.text()).then((it) => { window.got = it; }, () => { window.got = 'refused'; });</script>"
    )
    page.open(other.as_uri())
    page.wait_for("document.title === 'other' && window.got !== 'waiting'")
    assert page.value("window.got") == "refused"
    page.wait_for("true")
    said = [it["params"]["entry"]["text"] for it in page.events if it["method"] == "Log.entryAdded"]
    assert any("frame-ancestors" in text for text in said), said
