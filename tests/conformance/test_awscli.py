"""The AWS CLI from the package index, against the sandbox."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def aws(sandbox_env, tmp_path_factory):
    """Runs the CLI that is installed beside this interpreter, with an empty PATH: no plugin anywhere."""
    program = Path(sys.executable).with_name("aws")
    assert program.exists(), f"the AWS CLI is not installed beside {sys.executable}"
    home = tmp_path_factory.mktemp("home")
    env = {
        **sandbox_env,
        "HOME": str(home),
        "PATH": str(home),
        "LANG": "C.UTF-8",
        "AWS_PAGER": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def run(*words, code=0):
        done = subprocess.run(
            [sys.executable, str(program), *words],
            env=env,
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        if code:
            return done
        assert done.stderr == b""
        return json.loads(done.stdout)

    return run


def test_the_version_is_the_pinned_one(aws):
    requirements = Path(__file__).with_name("requirements.txt").read_text()
    (pinned,) = [line for line in requirements.splitlines() if line.startswith("awscli==")]
    program = Path(sys.executable).with_name("aws")
    shown = subprocess.run(
        [sys.executable, str(program), "--version"], capture_output=True, timeout=60, env=dict(os.environ)
    ).stdout.decode()
    assert shown.startswith("aws-cli/" + pinned.split("==")[1])


def test_caller_identity(aws):
    assert set(aws("sts", "get-caller-identity")) == {"UserId", "Account", "Arn"}


def test_clusters(aws):
    (arn,) = [a for a in aws("ecs", "list-clusters")["clusterArns"] if a.endswith(":cluster/demo")]
    answer = aws("ecs", "describe-clusters", "--clusters", "demo", "--include", "SETTINGS", "TAGS")
    assert [cluster["clusterArn"] for cluster in answer["clusters"]] == [arn]


def test_services(aws):
    arns = aws("ecs", "list-services", "--cluster", "demo")["serviceArns"]
    (web,) = [arn for arn in arns if arn.endswith("/web")]
    (service,) = aws("ecs", "describe-services", "--cluster", "demo", "--services", "web")["services"]
    assert service["serviceArn"] == web
    assert service["desiredCount"] == 2
    assert service["enableExecuteCommand"] is True


def test_tasks(aws, world):
    world.web_tasks()
    arns = aws("ecs", "list-tasks", "--cluster", "demo", "--service-name", "web")["taskArns"]
    assert len(arns) == 2
    answer = aws("ecs", "describe-tasks", "--cluster", "demo", "--tasks", *arns)
    assert {task["taskArn"] for task in answer["tasks"]} == set(arns)
    assert answer["failures"] == []


def test_task_definitions(aws):
    arns = aws("ecs", "list-task-definitions")["taskDefinitionArns"]
    families = {arn.rsplit("/", 1)[1].rsplit(":", 1)[0] for arn in arns}
    assert "job" in families
    for arn in arns:
        answer = aws("ecs", "describe-task-definition", "--task-definition", arn)
        assert answer["taskDefinition"]["taskDefinitionArn"] == arn
        assert answer["taskDefinition"]["containerDefinitions"]


def test_sessions(aws, sessions):
    session_id = sessions.execute("sleep 600")["session"]["sessionId"]
    active = aws("ssm", "describe-sessions", "--state", "Active")["Sessions"]
    assert session_id in [session["SessionId"] for session in active]
    history = aws("ssm", "describe-sessions", "--state", "History")["Sessions"]
    assert session_id not in [session["SessionId"] for session in history]


def test_errors_are_the_services_own(aws):
    done = aws("ecs", "list-tasks", "--cluster", "nope", code=255)
    assert b"(ClusterNotFoundException)" in done.stderr
    assert b"Cluster not found." in done.stderr


def test_without_a_plugin_exec_fails_before_any_call(aws, world):
    def active():
        found = world.ssm.describe_sessions(State="Active")["Sessions"]
        return {session["SessionId"] for session in found}

    before = active()
    task = world.web_task()["taskArn"]
    words = ["ecs", "execute-command", "--cluster", "demo", "--task", task, "--command", "true", "--interactive"]
    done = aws(*words, code=255)
    assert b"SessionManagerPlugin is not found" in done.stderr
    assert done.stdout == b""
    assert active() <= before
