"""CloudWatch Logs: what containers print, found by boto3 and by the AWS CLI.

The sandbox's clock decides when lines are ingested, so late ones are waited for by setting it forward.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from test_behaviours import refused
from test_control import control, own  # noqa: F401  (a fixture)
from world import eventually, task_id

LINES = 300
PRINT = f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line $i; done; echo end"
EXPECTED = [f"line {number}" for number in range(1, LINES + 1)] + ["end"]
NO_GROUP = "The specified log group does not exist."
NO_STREAM = "The specified log stream does not exist."


@pytest.fixture(scope="module")
def printed(world):
    """The stream of a task that has printed its lines."""
    arn = world.run(["sh", "-c", PRINT])["taskArn"]
    stream = f"ecs/app/{task_id(arn)}"
    world.log_lines("/ecs/web", stream, until="end")
    return stream


@pytest.fixture
def group(world):
    """A log group of the test's own."""
    name = f"/judge/{uuid.uuid4().hex[:12]}"
    world.logs.create_log_group(logGroupName=name)
    yield name
    world.logs.delete_log_group(logGroupName=name)


def millis():
    return int(time.time() * 1000)


def put(world, group, stream, messages, at=None):
    at = at or millis()
    events = [{"timestamp": at, "message": message} for message in messages]
    return world.logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def pages(world, **request):
    """All pages of FilterLogEvents."""
    found, token = [], None
    while True:
        page = world.logs.filter_log_events(**request, **({"nextToken": token} if token else {}))
        found.append(page["events"])
        token = page.get("nextToken")
        if token is None:
            return found


def messages(events):
    return [event["message"] for event in events]


def test_b39_get_log_events_in_order_and_at_the_end_the_same_token(world, printed):
    request = {"logGroupName": "/ecs/web", "logStreamName": printed}
    first = world.logs.get_log_events(**request, startFromHead=True, limit=100)
    assert messages(first["events"]) == EXPECTED[:100]
    assert all("eventId" not in event for event in first["events"])
    assert all(event["ingestionTime"] >= event["timestamp"] for event in first["events"])
    assert messages(world.stream("/ecs/web", printed, limit=7)) == EXPECTED
    # Without a direction: the newest; going back from there, all the rest.
    last = world.logs.get_log_events(**request, limit=10)
    assert messages(last["events"]) == EXPECTED[-10:]
    before = world.logs.get_log_events(**request, nextToken=last["nextBackwardToken"])
    assert messages(before["events"]) == EXPECTED[:-10]
    front = world.logs.get_log_events(**request, nextToken=before["nextBackwardToken"])
    assert front["events"] == [] and front["nextBackwardToken"] == before["nextBackwardToken"]
    refused("InvalidParameterException", world.logs.get_log_events, **request, nextToken="nonsense")
    refused("ResourceNotFoundException", world.logs.get_log_events, NO_STREAM, **{**request, "logStreamName": "no"})
    refused("ResourceNotFoundException", world.logs.get_log_events, NO_GROUP, **{**request, "logGroupName": "no"})


def test_b39_the_forward_token_goes_on_when_more_has_come(world, group):
    world.logs.create_log_stream(logGroupName=group, logStreamName="s")
    request = {"logGroupName": group, "logStreamName": "s", "startFromHead": True}
    empty = world.logs.get_log_events(**request)
    assert empty["events"] == []
    token = empty["nextForwardToken"]
    for word in ("one", "two"):
        put(world, group, "s", [word])
        page = world.logs.get_log_events(**request, nextToken=token)
        assert messages(page["events"]) == [word]
        assert page["nextForwardToken"] != token
        token = page["nextForwardToken"]
        assert world.logs.get_log_events(**request, nextToken=token)["nextForwardToken"] == token


def test_b39_filter_log_events(world, printed, group):
    request = {"logGroupName": "/ecs/web", "logStreamNames": [printed]}
    events = [event for page in pages(world, **request, limit=40) for event in page]
    assert messages(events) == EXPECTED
    assert len({event["eventId"] for event in events}) == len(events)
    assert {event["logStreamName"] for event in events} == {printed}
    assert all(event["ingestionTime"] >= event["timestamp"] for event in events)
    refused("InvalidParameterException", world.logs.filter_log_events, **request, logStreamNamePrefix="ecs")
    refused("ResourceNotFoundException", world.logs.filter_log_events, NO_GROUP, logGroupName="no")
    refused("InvalidParameterException", world.logs.filter_log_events, **request, filterPattern="[a, b]")
    refused("InvalidParameterException", world.logs.filter_log_events, **request, nextToken="nonsense")

    for name in ("a/1", "a/2", "b/1"):
        world.logs.create_log_stream(logGroupName=group, logStreamName=name)
    start = millis() - 60_000
    for number in range(30):
        stream = ("a/1", "a/2", "b/1")[number % 3]
        level = "ERROR" if number % 10 == 0 else "INFO"
        put(world, group, stream, [json.dumps({"level": level, "n": number})], at=start + number)
    every = [event for page in pages(world, logGroupName=group, limit=4) for event in page]
    assert [json.loads(event["message"])["n"] for event in every] == list(range(30))

    def numbers(**more):
        found = [event for page in pages(world, logGroupName=group, **more) for event in page]
        return [json.loads(event["message"])["n"] for event in found]

    assert numbers(logStreamNamePrefix="a/", startTime=start + 3, endTime=start + 9) == [3, 4, 6, 7]
    assert numbers(filterPattern="ERROR") == [0, 10, 20]
    assert numbers(filterPattern='{ $.level = "INFO" && $.n > 27 }') == [28, 29]
    assert numbers(filterPattern='?ERROR ?"28"') == [0, 10, 20, 28]
    assert numbers(filterPattern="INFO -level") == []
    assert numbers(startTime=start, startFromHead=False, limit=7) == list(range(29, -1, -1))


def test_groups_streams_retention_and_tags(world, group):
    refused("ResourceAlreadyExistsException", world.logs.create_log_group, logGroupName=group)
    (shown,) = world.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert shown["arn"] == shown["logGroupArn"] + ":*"
    assert "retentionInDays" not in shown
    world.logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    refused("InvalidParameterException", world.logs.put_retention_policy, logGroupName=group, retentionInDays=8)
    assert world.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["retentionInDays"] == 7
    world.logs.tag_resource(resourceArn=shown["logGroupArn"], tags={"a": "1", "b": "2"})
    world.logs.untag_resource(resourceArn=shown["logGroupArn"], tagKeys=["a"])
    assert world.logs.list_tags_for_resource(resourceArn=shown["logGroupArn"])["tags"] == {"b": "2"}

    for number in range(60):
        world.logs.create_log_stream(logGroupName=group, logStreamName=f"s{number:02}")
    put(world, group, "s07", ["the newest"])
    found = world.logs.get_paginator("describe_log_streams").paginate(logGroupName=group)
    names = [stream["logStreamName"] for page in found for stream in page["logStreams"]]
    assert names == [f"s{number:02}" for number in range(60)]
    newest = world.logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True, limit=1)
    assert newest["logStreams"][0]["logStreamName"] == "s07"
    refused(
        "InvalidParameterException",
        world.logs.describe_log_streams,
        logGroupName=group,
        orderBy="LastEventTime",
        logStreamNamePrefix="s",
    )
    world.logs.delete_log_stream(logGroupName=group, logStreamName="s07")
    refused("ResourceNotFoundException", put, NO_STREAM, world=world, group=group, stream="s07", messages=["x"])


def test_put_log_events_has_rules(world, group):
    world.logs.create_log_stream(logGroupName=group, logStreamName="s")
    now, day = millis(), 86_400_000

    def events(*times):
        return [{"timestamp": at, "message": f"at {at}"} for at in times]

    def send(batch):
        return world.logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=batch)

    for wrong in (
        events(now, now - 1),
        events(now - 2 * day, now),
        [{"timestamp": now, "message": "x" * 200_000}] * 6,
        [{"timestamp": now, "message": "x"}] * 10_001,
    ):
        refused("InvalidParameterException", send, batch=wrong)
    assert send(events(now - 15 * day))["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    answer = send(events(now - 1, now, now + day // 2))
    assert answer["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 2}
    assert messages(world.stream(group, "s")) == [f"at {now - 1}", f"at {now}"]
    # As large as a batch can be; read back in pages of at most 1 MB.
    big = ["y" * (262_144 - 26)] * 4
    put(world, group, "s", big)
    put(world, group, "s", big)
    page = world.logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True)
    assert len(page["events"]) == 5
    assert messages(world.stream(group, "s"))[2:] == big * 2


def test_long_lines_are_cut_and_nothing_is_lost(world):
    script = "head -c 600000 /dev/zero | tr '\\0' x; echo; echo; printf 'no newline'"
    arn = world.run(["sh", "-c", script])["taskArn"]
    lines = world.log_lines("/ecs/web", f"ecs/app/{task_id(arn)}", until="no newline")
    assert [len(line) for line in lines] == [262_118, 262_118, 600_000 - 2 * 262_118, 10]
    assert lines[-1] == "no newline"


def test_late_lines_come_in_uneven_batches_and_complete(own):  # noqa: F811
    world = own()
    assert control(world, "SetLogDelay", minSeconds=600, maxSeconds=1200)[0] == 200
    # Many lines in three streams: that all of them come in one piece is one chance in ten thousands.
    expected = [f"line {number}" for number in range(1, 2001)]
    script = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done"
    arns = [world.run(["sh", "-c", script])["taskArn"] for _ in range(3)]
    for arn in arns:
        world.wait_status(arn, "STOPPED")
    streams = [f"ecs/app/{task_id(arn)}" for arn in arns]
    request = {"logGroupName": "/ecs/web", "logStreamName": streams[0]}
    refused("ResourceNotFoundException", world.logs.get_log_events, NO_STREAM, **request)
    seen = {stream: [] for stream in streams}
    for _ in range(41):
        control(world, "AdvanceClock", seconds=30)
        for stream in streams:
            try:
                seen[stream].append(messages(world.stream("/ecs/web", stream)))
            except ClientError as error:
                assert error.response["Error"]["Code"] == "ResourceNotFoundException"
    for looks in seen.values():
        sizes = [len(lines) for lines in looks]
        assert sizes == sorted(sizes)
        assert all(lines == expected[: len(lines)] for lines in looks)
        assert looks[-1] == expected
    assert any(len({len(lines) for lines in looks}) > 2 for looks in seen.values())
    for wrong in ({"minSeconds": 2, "maxSeconds": 1}, {"seconds": 1, "minSeconds": 2}, {"seconds": -1}):
        assert control(world, "SetLogDelay", **wrong)[1]["__type"] == "InvalidParameterException"


def test_short_pages_are_often_empty_and_lead_to_the_end(own):  # noqa: F811
    world = own("--scenario", "log-pages=10", "--scenario", "log-delay=0-0.2")
    arn = world.run(["sh", "-c", PRINT])["taskArn"]
    stream = f"ecs/app/{task_id(arn)}"
    world.log_lines("/ecs/web", stream, until="end")
    assert messages(world.stream("/ecs/web", stream)) == EXPECTED
    found = pages(world, logGroupName="/ecs/web", logStreamNames=[stream], filterPattern="end")
    assert len(found) > 20
    assert [messages(page) for page in found if page] == [["end"]]


def test_callers_are_throttled_where_a_scenario_wants_it(own):  # noqa: F811
    world = own("--scenario", "log-limits")

    def ask(_):
        try:
            world.logs.filter_log_events(logGroupName="/ecs/web", limit=1)
        except ClientError as error:
            return error.response["Error"]["Code"]

    # At once, so that a slow machine is quick enough to be too quick.
    with ThreadPoolExecutor(20) as pool:
        codes = set(pool.map(ask, range(60)))
    assert codes == {None, "ThrottlingException"}
    assert control(world, "CountCalls")[1]["calls"]["FilterLogEvents"] == 60


def test_exec_sessions_are_logged_in_cloudwatch(own):  # noqa: F811
    from datachannel import open_exec

    world = own("--scenario", "exec-logging=/audit")
    answer = world.ecs.execute_command(
        cluster="demo", task=world.web_task()["taskArn"], command="echo logged", interactive=True
    )
    with open_exec(answer) as channel:
        channel.until_closed()
    lines = world.log_lines("/audit", answer["session"]["sessionId"], until="logged")
    assert lines == ["logged\r"]


class Tail(threading.Thread):
    """A live tail, with when its messages came."""

    def __init__(self, world, **request):
        super().__init__(daemon=True)
        self.answer = world.logs.start_live_tail(**request)
        self.found = []
        self.start()

    def run(self):
        try:
            for event in self.answer["responseStream"]:
                self.found.append((time.monotonic(), event))
        except Exception as error:
            self.found.append((time.monotonic(), {"error": error}))

    def events(self):
        updates = [event["sessionUpdate"] for _, event in self.found if "sessionUpdate" in event]
        return [result for update in updates for result in update["sessionResults"]]

    def close(self):
        self.answer["responseStream"].close()


def arn_of(world, group):
    (found,) = world.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    return found["logGroupArn"]


def test_b40_live_tail(world, group):
    world.logs.create_log_stream(logGroupName=group, logStreamName="s")
    put(world, group, "s", ["before"])
    arn = arn_of(world, group)
    tail = Tail(world, logGroupIdentifiers=[arn])
    try:
        assert tail.answer["ResponseMetadata"]["HTTPHeaders"]["transfer-encoding"] == "chunked"
        eventually("the session has started", lambda: tail.found)
        (name, start), = tail.found[0][1].items()
        assert name == "sessionStart"
        assert start["logGroupIdentifiers"] == [arn] and start["sessionId"]
        # Empty updates keep it alive.
        eventually("two updates", lambda: len(tail.found) >= 3)
        assert tail.events() == []
        put(world, group, "s", ["after", "again"])
        found = eventually("the new lines", tail.events)
        assert messages(found) == ["after", "again"]
        assert {event["logStreamName"] for event in found} == {"s"}
        assert not tail.found[-1][1]["sessionUpdate"]["sessionMetadata"]["sampled"]
        gaps = [later[0] - earlier[0] for earlier, later in zip(tail.found[1:], tail.found[2:])]
        assert 0.5 < sorted(gaps)[len(gaps) // 2] < 3
    finally:
        tail.close()


def test_b40_live_tail_refuses_and_samples(world, group):
    arn = arn_of(world, group)
    missing = arn.rsplit(":", 1)[0] + ":/no/such/group"
    refused("ResourceNotFoundException", world.logs.start_live_tail, NO_GROUP, logGroupIdentifiers=[missing])
    refused("InvalidParameterException", world.logs.start_live_tail, logGroupIdentifiers=[group])
    refused("InvalidParameterException", world.logs.start_live_tail, logGroupIdentifiers=[arn + ":*"])
    both = {"logStreamNames": ["s"], "logStreamNamePrefixes": ["s"]}
    refused("InvalidParameterException", world.logs.start_live_tail, logGroupIdentifiers=[arn], **both)

    tail = Tail(world, logGroupIdentifiers=[arn], logStreamNamePrefixes=["b"], logEventFilterPattern="-quiet")
    try:
        for name in ("a", "b"):
            world.logs.create_log_stream(logGroupName=group, logStreamName=name)
            put(world, group, name, [f"{name} {number}" for number in range(600)] + ["quiet"])
        found = eventually("a sampled update", tail.events)
        assert len(found) <= 500
        assert {event["logStreamName"] for event in found} == {"b"} and "quiet" not in messages(found)
        updates = [event["sessionUpdate"] for _, event in tail.found if "sessionUpdate" in event]
        assert [u["sessionMetadata"]["sampled"] for u in updates if u["sessionResults"]] == [True]
    finally:
        tail.close()


@pytest.mark.parametrize("prefix", ["stream-", "streaming-"])
def test_b40_the_host_prefix_of_live_tail_is_taken(world, make_client, monkeypatch, prefix):
    # As botocore does it by itself; only that the name resolves nowhere has to be helped.
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: resolve(host.removeprefix(prefix), *rest, **more))
    logs = make_client("logs")
    logs.meta.service_model.operation_model("StartLiveTail").endpoint["hostPrefix"] = prefix
    sent = []
    logs.meta.events.register("before-send.logs.StartLiveTail", lambda request, **_: sent.append(request.url))
    answer = logs.start_live_tail(logGroupIdentifiers=[arn_of(world, "/ecs/web")])
    assert "sessionStart" in next(iter(answer["responseStream"]))
    assert sent[0].startswith(f"http://{prefix}127.0.0.1:")
    answer["responseStream"].close()


def test_b40_live_tails_are_limited_and_time_out(own):  # noqa: F811
    world = own()
    arn = arn_of(world, "/ecs/web")
    tails = [Tail(world, logGroupIdentifiers=[arn]) for _ in range(10)]
    more = [world.logs.start_live_tail(logGroupIdentifiers=[arn]) for _ in range(5)]
    refused("LimitExceededException", world.logs.start_live_tail, logGroupIdentifiers=[arn])
    control(world, "AdvanceClock", seconds=3 * 3600)
    for tail in tails:
        tail.join(30)
        assert "SessionTimeoutException" in str(tail.found[-1][1]["error"])
    for answer in more:
        answer["responseStream"].close()


class Cli:
    """The AWS CLI beside this interpreter."""

    def __init__(self, env, home):
        self.program = str(Path(sys.executable).with_name("aws"))
        self.env = {**env, "HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "AWS_PAGER": ""}
        self.env["PYTHONDONTWRITEBYTECODE"] = "1"
        self.env["PYTHONUNBUFFERED"] = "1"

    def start(self, *words):
        return subprocess.Popen(
            [sys.executable, self.program, *words],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *words, code=0):
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, (words, process.returncode, out, err)
        return json.loads(out) if out else None


@pytest.fixture
def aws(sandbox_env, tmp_path):
    return Cli(sandbox_env, tmp_path)


def test_cli_runs_a_task_waits_and_reads_its_log(aws, world):
    service = world.service()
    network = json.dumps(service["networkConfiguration"])
    overrides = {"containerOverrides": [{"name": "app", "command": ["sh", "-c", PRINT + "; exit 7"]}]}
    words = ["ecs", "run-task", "--cluster", "demo", "--task-definition", service["taskDefinition"]]
    words += ["--launch-type", "FARGATE", "--network-configuration", network, "--overrides", json.dumps(overrides)]
    (task,) = aws(*words)["tasks"]
    # The CLI's waiter asks every 6 seconds, so it had better find the task stopped.
    world.wait_status(task["taskArn"], "STOPPED")
    assert aws("ecs", "wait", "tasks-stopped", "--cluster", "demo", "--tasks", task["taskArn"]) is None
    assert world.describe(task["taskArn"])["containers"][0]["exitCode"] == 7

    stream = f"ecs/app/{task_id(task['taskArn'])}"
    world.log_lines("/ecs/web", stream, until="end")
    where = ["--log-group-name", "/ecs/web"]
    # Paging by the CLI itself, over tokens that are given out one by one.
    only = ["--log-stream-names", stream, "--filter-pattern", "line"]
    found = aws("logs", "filter-log-events", *where, *only, "--page-size", "100")
    assert messages(found["events"]) == EXPECTED[:-1]
    got = aws("logs", "get-log-events", *where, "--log-stream-name", stream, "--start-from-head")
    assert messages(got["events"]) == EXPECTED


def test_cli_live_tail(aws, world, group):
    world.logs.create_log_stream(logGroupName=group, logStreamName="s")
    process = aws.start("logs", "start-live-tail", "--log-group-identifiers", arn_of(world, group))
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, b"")), daemon=True)
    reader.start()
    try:
        # There is no history, and no sign that it has begun: so until it shows something.
        def shown():
            assert process.poll() is None, process.stderr.read()
            put(world, group, "s", ["hello, tail"])
            return any(b"hello, tail" in line for line in lines)

        eventually("the CLI shows a line", shown, pause=0.5)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
