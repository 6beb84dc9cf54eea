"""Fresh tasks: their lines, their codes, and what stops them."""

from __future__ import annotations

import signal
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

import bowline_ecs
from bowline_ecs import Client, Exit, Launched, LogLine, Notice, Sandbox, Status
from conftest import LIMIT, api, eventually, program

#: For log lines after the end; without it they are awaited until they have been quiet for seconds.
QUIET = 2.0


def status_of(sandbox: Sandbox, arn: str) -> tuple[str, str]:
    task = api(sandbox, "ecs").describe_tasks(cluster="demo", tasks=[arn])["tasks"][0]
    return task["desiredStatus"], task.get("stoppedReason", "")


def test_lines_and_the_code(inside: Sandbox) -> None:
    run = bowline_ecs.run("family:job", ["sh", "-c", "echo one; echo $WORD; exit 3"], environment={"WORD": "two"})
    events = list(run)
    assert {type(event) for event in events} <= {Notice, Launched, Status, LogLine, Exit}
    assert [event.text for event in events if isinstance(event, LogLine)] == ["one", "two"]
    line = next(event for event in events if isinstance(event, LogLine))
    assert line.container == "job" and abs((datetime.now(timezone.utc) - line.time).total_seconds()) < 600
    assert events[-1] == Exit(3, "job", None) and run.code == 3
    assert run.task_arn is not None and run.task_arn.endswith(f"/{run.task_id}")


def test_result(client: Client) -> None:
    done = client.run("family:job", log_wait=QUIET).result(check=True)
    assert done.code == 0 and done.lines and done.task_id
    with pytest.raises(bowline_ecs.CommandFailedError) as raised:
        client.run("family:job", ["sh", "-c", "echo why; exit 9"], log_wait=QUIET).result(check=True)
    assert (raised.value.code, raised.value.stdout) == (9, b"why")


def test_overrides_are_boto3s(client: Client) -> None:
    overrides = {
        "containerOverrides": [{"name": "job", "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]
    }
    command = ["sh", "-c", "test $A$B = 13"]
    assert client.run("family:job", command, overrides=overrides, environment={"B": "3"}, logs=False).result().code == 0
    with pytest.raises(bowline_ecs.UsageError, match="containerOverridez"):
        client.run("family:job", overrides={"containerOverridez": []})


def test_a_notice_speaks_of_arguments(client: Client) -> None:
    notices = [event.text for event in client.run("family:job", logs=False) if isinstance(event, Notice)]
    assert any("like= or subnets=" in text for text in notices), notices


def test_a_time_limit_stops_the_task(inside: Sandbox) -> None:
    run = bowline_ecs.run("family:job", ["sleep", "600"], timeout=2, logs=False)
    with pytest.raises(bowline_ecs.TimeLimitError) as raised:
        run.result()
    assert raised.value.resource == run.task_id and raised.value.limit == 2
    assert run.task_arn is not None and status_of(inside, run.task_arn)[0] == "STOPPED"


def test_an_exception_stops_the_task_and_leaving_does_not(inside: Sandbox) -> None:
    with pytest.raises(ZeroDivisionError), bowline_ecs.run("family:job", ["sleep", "600"]) as run:
        for event in run:
            if isinstance(event, Launched):
                1 / 0
    assert run.task_arn is not None
    arn = run.task_arn
    eventually(lambda: status_of(inside, arn) == ("STOPPED", "bowline_ecs: interrupted"), "the task goes on")

    with bowline_ecs.run("family:job", ["sleep", "600"]) as left:
        next(event for event in left if isinstance(event, Launched))
    assert left.task_arn is not None and status_of(inside, left.task_arn)[0] == "RUNNING"
    api(inside, "ecs").stop_task(cluster="demo", task=left.task_arn)


FOLLOWS = """
import bowline_ecs
run = bowline_ecs.run("family:job", ["sleep", "600"])
for event in run:
    if isinstance(event, bowline_ecs.Status) and "RUNNING" in event.text:
        print(run.task_arn, flush=True)
        BUSY
"""


@pytest.mark.parametrize("busy", ["continue", "import time; time.sleep(600)"], ids=["waiting", "busy"])
def test_ctrl_c_stops_the_task(inside: Sandbox, tmp_path: Path, busy: str) -> None:
    ran = program(FOLLOWS.replace("BUSY", busy), inside, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert ran.stdout is not None
    arn = ran.stdout.readline().decode().strip()
    ran.send_signal(signal.SIGINT)
    _, errors = ran.communicate(timeout=LIMIT)
    assert errors.decode().strip().endswith("KeyboardInterrupt"), errors.decode()
    assert status_of(inside, arn) == ("STOPPED", "bowline_ecs: interrupted")


def test_stop(client: Client, sandbox: Sandbox) -> None:
    run = client.run("family:job", ["sleep", "600"], logs=False)
    for event in run:
        if isinstance(event, Status) and "RUNNING" in event.text:
            run.stop("enough")
    # SIGTERM's: a command that was ended, not one that has ended; the text says so.
    assert isinstance(event, Exit) and event.code == 143 and event.text and "enough" in event.text
    assert run.task_arn is not None and status_of(sandbox, run.task_arn)[1] == "enough"


def test_a_task_that_does_not_start(client: Client) -> None:
    with pytest.raises(bowline_ecs.TaskFailedError) as raised:
        client.run("family:job", ["no-such-program"], logs=False).result()
    assert raised.value.cause == "StartFailed" and raised.value.hint
    with pytest.raises(bowline_ecs.TargetNotFoundError) as unknown:
        client.run("nothing")
    assert unknown.value.candidates == ["web"]
