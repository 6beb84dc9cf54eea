"""One sandbox for the tests that only use it; those that change it have one of their own (`bowline_sandbox`)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

import bowline_ecs

pytest_plugins = ["pytester"]

#: For what happens at once on an idle machine.
LIMIT = 60.0


@pytest.fixture(scope="session")
def sandbox() -> Iterator[bowline_ecs.Sandbox]:
    with bowline_ecs.Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def client(sandbox: bowline_ecs.Sandbox) -> bowline_ecs.Client:
    return sandbox.client()


@pytest.fixture
def inside(sandbox: bowline_ecs.Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bowline_ecs.Sandbox:
    """The shared sandbox, as the environment leads to it."""
    for name, value in environment(sandbox, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    return sandbox


def environment(sandbox: bowline_ecs.Sandbox, home: Path) -> dict[str, str]:
    """What a program needs to reach it, and no file of whoever runs the tests."""
    files = {name: str(home / "none") for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")}
    return {**{name: value for name, value in sandbox.environment.items() if value is not None}, **files}


def api(sandbox: bowline_ecs.Sandbox, service: str) -> Any:
    """boto3's client of a service there."""
    return boto3.client(
        service,
        endpoint_url=sandbox.endpoint,
        region_name=sandbox.region,
        aws_access_key_id=sandbox.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=sandbox.environment["AWS_SECRET_ACCESS_KEY"],
    )


def active_sessions(sandbox: bowline_ecs.Sandbox) -> int:
    return len(api(sandbox, "ssm").describe_sessions(State="Active")["Sessions"])


def eventually(what: Callable[[], bool], said: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not what():
        assert time.monotonic() < deadline, said
        time.sleep(0.02)


def is_gone(process: int) -> bool:
    """Whether a process has ended, or only waits to be reaped."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def program(text: str, sandbox: bowline_ecs.Sandbox, home: Path, **options: Any) -> subprocess.Popen[bytes]:
    """A Python program beside this one, with the sandbox in its environment."""
    script = home / "program.py"
    script.write_text("import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + text)
    env = {**os.environ, **environment(sandbox, home)}
    command = [*options.pop("before", []), sys.executable, str(script)]
    return subprocess.Popen(command, env=env, **options)


def answer(host: str, port: int) -> bytes:
    """What the demo world's web server says; a task is RUNNING a little before its server listens."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/", timeout=LIMIT) as reply:
                return bytes(reply.read())
        except OSError:
            assert time.monotonic() < deadline, "the web server does not answer"
            time.sleep(0.05)
