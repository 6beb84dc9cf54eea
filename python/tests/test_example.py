"""The Lambda handler in ten lines, and the same job for boto3 alone beside it."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import boto3
import pytest

from bowline_ecs import Sandbox, TimeLimitError

EXAMPLE = Path(__file__).parents[1] / "examples" / "lambda_exec.py"


class Context:
    """What Lambda gives a handler."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


def handler() -> Any:
    spec = importlib.util.spec_from_file_location("lambda_exec", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler


def test_it_is_ten_lines() -> None:
    function = next(node for node in ast.parse(EXAMPLE.read_text()).body if isinstance(node, ast.FunctionDef))
    assert function.end_lineno is not None and function.end_lineno - function.lineno + 1 <= 10


def test_all_output_comes_back(bowline_sandbox: Sandbox, capfd: pytest.CaptureFixture[str]) -> None:
    event = {"target": "demo/web", "command": ["sh", "-c", "seq 1 5000; echo trouble >&2; exit 3"]}
    answer = handler()(event, Context(60))
    lines = answer["output"].splitlines()
    assert answer["code"] == 3 and [line for line in lines if line != "trouble"] == [str(n) for n in range(1, 5001)]
    assert "trouble" in lines
    # What Lambda writes to its log is the same.
    assert sorted(capfd.readouterr().out.splitlines()) == sorted(lines)


def test_it_leaves_before_lambda_ends_it(bowline_sandbox: Sandbox) -> None:
    with pytest.raises(TimeLimitError):
        handler()({"target": "demo/web", "command": ["sleep", "60"]}, Context(4))


def test_boto3_alone_gets_no_output(bowline_sandbox: Sandbox) -> None:
    """Its answer is only where to open the stream, in a protocol that boto3 does not speak; there is no exit code."""
    ecs = boto3.client("ecs")
    task = ecs.list_tasks(cluster="demo", serviceName="web")["taskArns"][0]
    answer = ecs.execute_command(cluster="demo", task=task, container="app", interactive=True, command="echo hello")
    assert set(answer) - {"ResponseMetadata"} == {
        "clusterArn",
        "containerArn",
        "containerName",
        "interactive",
        "session",
        "taskArn",
    }
    assert set(answer["session"]) == {"sessionId", "streamUrl", "tokenValue"}
    assert answer["session"]["streamUrl"].startswith(bowline_sandbox.endpoint.replace("http", "ws", 1))
    assert "hello" not in str(answer)
    assert not [name for name in dir(ecs) + dir(boto3.client("ssm")) if "stream" in name or "data_channel" in name]
