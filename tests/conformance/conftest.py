"""Fixtures: a running sandbox, and other people's clients pointed at it.

With BOWLINE_ENDPOINT set, that sandbox is judged. Otherwise $BOWLINE_BIN starts one for the run.
"""

import os
import shlex
import subprocess
import tempfile
import time
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from world import World

REQUIRED = (
    "AWS_ENDPOINT_URL",
    "BOWLINE_ENDPOINT",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_DISABLE_HOST_PREFIX_INJECTION",
)
START_LIMIT = 60.0
OUTSIDE = dict(os.environ)  # before `no_outside_aws` cleans it


def parse_exports(text):
    """The `export NAME=value` lines of an env file, as a shell would read them."""
    found = {}
    for line in text.splitlines():
        words = shlex.split(line)
        if len(words) == 2 and words[0] == "export" and "=" in words[1]:
            name, value = words[1].split("=", 1)
            found[name] = value
    return found


@pytest.fixture(scope="session")
def bowline():
    """The binary under test."""
    path = os.environ.get("BOWLINE_BIN")
    assert path, "BOWLINE_BIN must name the bowline binary"
    assert os.access(path, os.X_OK), f"BOWLINE_BIN is not executable: {path}"
    return str(Path(path).resolve())


class Started:
    """A sandbox this run started itself."""

    def __init__(self, binary, place, *options, extra=None):
        self.env_file = Path(place) / "env"
        self.log = Path(place) / "log"
        self.home = Path(place) / "home"
        self.home.mkdir()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [binary, "sandbox", "--port", "0", "--env-file", str(self.env_file), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.home),
                    "BOWLINE_CONFORMANCE_LEAK": "1",
                    **(extra or {}),
                },
            )
        try:
            self.env = self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self):
        deadline = time.monotonic() + START_LIMIT
        while True:
            text = self.env_file.read_text() if self.env_file.exists() else ""
            env = parse_exports(text)
            if text.endswith("\n") and all(name in env for name in REQUIRED):
                return env
            code = self.process.poll()
            assert code is None, f"the sandbox ended with {code}:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, (
                f"no complete env file after {START_LIMIT:.0f} s; it holds {sorted(env)};\n{self.log.read_text()}"
            )
            time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture(scope="session")
def started(request):
    """The sandbox process of this run, or None when BOWLINE_ENDPOINT names a foreign one."""
    if os.environ.get("BOWLINE_ENDPOINT"):
        yield None
        return
    binary = request.getfixturevalue("bowline")
    with tempfile.TemporaryDirectory(prefix="bowline-conformance-") as place:
        sandbox = Started(binary, place)
        try:
            yield sandbox
        finally:
            sandbox.stop()


@pytest.fixture(scope="session")
def sandbox_env(started):
    """The variables the sandbox hands to its users, and nothing else."""
    if started is not None:
        return started.env
    env = {n: v for n, v in OUTSIDE.items() if n.startswith("AWS_") or n == "BOWLINE_ENDPOINT"}
    env.setdefault("AWS_ENDPOINT_URL", env["BOWLINE_ENDPOINT"])
    return env


@pytest.fixture(scope="session", autouse=True)
def no_outside_aws(tmp_path_factory):
    """No profile, region or key of the machine may reach a judge."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith("AWS_"):
            del os.environ[name]
    nowhere = tmp_path_factory.mktemp("aws")
    os.environ["AWS_CONFIG_FILE"] = str(nowhere / "config")
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(nowhere / "credentials")
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def make_client(sandbox_env):
    """boto3 clients for the sandbox; keywords replace what its environment says."""

    def make(service, *, config=None, **changes):
        settings = {
            "endpoint_url": sandbox_env["BOWLINE_ENDPOINT"],
            "region_name": sandbox_env["AWS_REGION"],
            "aws_access_key_id": sandbox_env["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": sandbox_env["AWS_SECRET_ACCESS_KEY"],
            "aws_session_token": sandbox_env.get("AWS_SESSION_TOKEN"),
            **changes,
        }
        quick = Config(connect_timeout=10, read_timeout=30, retries={"total_max_attempts": 1})
        return boto3.client(service, config=quick.merge(config) if config else quick, **settings)

    return make


@pytest.fixture(scope="session")
def world(sandbox_env, make_client):
    """The demo world, seen through boto3."""
    return World(sandbox_env, make_client)


@pytest.fixture
def sessions(world):
    """Starts exec sessions and ends every one of them after the test: a container takes only two."""
    opened = []

    class Sessions:
        @staticmethod
        def execute(command, task=None, **more):
            task = task or world.web_task()
            answer = world.ecs.execute_command(
                cluster="demo", task=task["taskArn"], command=command, interactive=True, **more
            )
            opened.append(answer["session"]["sessionId"])
            return answer

        @staticmethod
        def start(**request):
            answer = world.ssm.start_session(**request)
            opened.append(answer["SessionId"])
            return answer

    yield Sessions
    for session_id in opened:
        world.end_session(session_id)
