"""The public amazon-ssm-agent, as it runs in ECS, with the sandbox as its service.

BOWLINE_REAL_AGENT names the folder with its three programs (amazon-ssm-agent, ssm-agent-worker, ssm-session-worker);
without it nothing here runs, and this file says so. BOWLINE_REFERENCE_PLUGIN may name AWS's session-manager-plugin, to
be judged beside ours.
"""

import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from conftest import OUTSIDE, Started
from test_plugin import between_the_banners, end_forward, start_forward
from world import World, eventually, ssm_target

AGENT = OUTSIDE.get("BOWLINE_REAL_AGENT")
REFERENCE = OUTSIDE.get("BOWLINE_REFERENCE_PLUGIN")
LIMIT = 120
# The agent sends about 0.7 MB in a second from a terminal.
MUCH = 2_000_000

if not AGENT:
    print("test_agent.py: NOT RUN: BOWLINE_REAL_AGENT names no folder with the agent's programs", file=sys.__stderr__)
pytestmark = pytest.mark.skipif(not AGENT, reason="BOWLINE_REAL_AGENT names no folder with the agent's programs")


@pytest.fixture(scope="module")
def echo():
    """A server that answers what it gets, for a host that only tasks reach."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(connection):
        with connection:
            while piece := connection.recv(65536):
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)

    def accept():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


@pytest.fixture(scope="module")
def started(bowline, echo):
    """A sandbox of its own, with a real agent in each container."""
    with tempfile.TemporaryDirectory(prefix="bowline-agent-") as place:
        host = f"echo.internal:7000=127.0.0.1:{echo}"
        sandbox = Started(bowline, place, "--agent", f"real={AGENT}", "--remote-host", host)
        try:
            yield sandbox
        finally:
            sandbox.stop()


@pytest.fixture(scope="module")
def sandbox_env(started):
    return started.env


@pytest.fixture(scope="module")
def world(sandbox_env):
    import boto3

    def make(service, **changes):
        return boto3.client(
            service,
            endpoint_url=sandbox_env["BOWLINE_ENDPOINT"],
            region_name=sandbox_env["AWS_REGION"],
            aws_access_key_id=sandbox_env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=sandbox_env["AWS_SECRET_ACCESS_KEY"],
            **changes,
        )

    return World(sandbox_env, make)


@pytest.fixture(scope="module")
def ours(bowline, sandbox_env, tmp_path_factory):
    """Starts bowline."""
    home = tmp_path_factory.mktemp("bowline")
    env = {**sandbox_env, "HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}

    def start(*words, **options):
        settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([bowline, *words], env=env, **settings)

    return start


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    """A test that fails must not keep the places of the next."""
    world = request.getfixturevalue("world") if AGENT else None
    yield
    if world:
        for session in world.ssm.describe_sessions(State="Active")["Sessions"]:
            world.end_session(session["SessionId"])


def finish(process, stdin=None):
    stdout, stderr = process.communicate(stdin, timeout=LIMIT)
    return process.returncode, stdout, stderr


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, start, columns=80, rows=24):
        self.main, side = pty.openpty()
        self.resize(columns, rows)

        def control():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = start(stdin=side, stdout=side, stderr=side, preexec_fn=control)
        os.close(side)
        self.seen = b""

    def resize(self, columns, rows):
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.main, keys)

    def until(self, wanted):
        """All that came before what is wanted, and it."""
        deadline = time.monotonic() + LIMIT
        while not (found := re.search(wanted, self.seen)):
            assert time.monotonic() < deadline, (wanted, self.seen)
            if select.select([self.main], [], [], 0.2)[0]:
                try:
                    piece = os.read(self.main, 65536)
                except OSError:
                    piece = b""
                assert piece, (wanted, self.seen)
                self.seen += piece
        before, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return before

    def end(self):
        """The exit code, after the terminal has no more to say."""
        code = self.process.wait(timeout=LIMIT)
        os.close(self.main)
        return code


def test_agents_are_running_because_they_are_connected(world):
    for task in world.web_tasks():
        (agent,) = task["containers"][0]["managedAgents"]
        assert (agent["name"], agent["lastStatus"]) == ("ExecuteCommandAgent", "RUNNING")
        status = world.ssm.get_connection_status(Target=ssm_target(task))
        assert status["Status"] == "connected"


def test_streams_and_codes(ours):
    code, stdout, stderr = finish(ours("exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 3"))
    assert (code, stdout) == (3, b"out\n")
    assert stderr.endswith(b"\nerr\n")
    assert finish(ours("exec", "web", "--", "sh", "-c", "kill -9 $$"))[0] == 137
    assert finish(ours("exec", "web", "--", "no-such-program"))[0] == 127


def test_much_output_and_input_are_the_same_bytes(ours, tmp_path):
    data = os.urandom(MUCH)
    (tmp_path / "data").write_bytes(data)
    code, stdout, _ = finish(ours("exec", "web", "--", "cat", str(tmp_path / "data")))
    assert (code, sha256(stdout).digest()) == (0, sha256(data).digest())
    process = ours("exec", "-i", "web", "--", "sh", "-c", "cat; printf end", stdin=subprocess.PIPE)
    code, stdout, _ = finish(process, data[:500_000])
    assert (code, stdout) == (0, data[:500_000] + b"end")


def test_a_terminal_its_size_and_its_keys(ours):
    terminal = Terminal(lambda **io: ours("exec", "-t", "web", "--", "sh", **io), columns=101, rows=33)
    # What is typed before the shell is there may be lost with any agent.
    terminal.until(rb"[#$] ")
    terminal.type(b"stty size\r")
    terminal.until(rb"33 101\r")
    terminal.resize(71, 22)
    terminal.process.send_signal(signal.SIGWINCH)
    eventually("the size has arrived", lambda: size(terminal) == (22, 71))
    terminal.type(b"sleep 1000; echo interrupted $?\r")
    terminal.until(rb"sleep 1000")
    time.sleep(0.5)
    terminal.type(b"\x03")
    # What is typed before the prompt goes with the interrupt.
    terminal.until(rb"[#$] ")
    terminal.type(b"echo after=$((6 * 7))\r")
    terminal.until(rb"after=42\r")
    terminal.type(b"exit 5\r")
    assert terminal.end() == 5


def size(terminal):
    terminal.type(b"stty size\r")
    found = terminal.until(rb"\d+ \d+\r+\n")
    return tuple(map(int, re.search(rb"(\d+) (\d+)\r", found).groups()))


# AWS's plugin asks the KMS of AWS, whatever the endpoint.
@pytest.mark.parametrize("plugin", ["ours"], indirect=True)
def test_encrypted_sessions(ours, world, cli):
    key = world.kms.create_key()["KeyMetadata"]["Arn"]
    configuration = {"executeCommandConfiguration": {"kmsKeyId": key, "logging": "NONE"}}
    world.ecs.update_cluster(cluster="demo", configuration=configuration)
    try:
        code, stdout, stderr = finish(ours("exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 3"))
        assert (code, stdout) == (3, b"out\n")
        assert stderr.endswith(b"\nerr\n")
        terminal = Terminal(lambda **io: execute(cli, world, "sh", **io))
        terminal.until(rb"This session is encrypted using AWS KMS.")
        terminal.until(rb"[#$] ")
        terminal.type(b"echo secret=$((6 * 7))\r")
        terminal.until(rb"secret=42\r")
        terminal.type(b"exit\r")
        assert terminal.end() == 0
    finally:
        world.ecs.update_cluster(cluster="demo", configuration={"executeCommandConfiguration": {"logging": "NONE"}})


def open_forward(ours, spec):
    process = ours("forward", "web", spec)
    line = b""
    deadline = time.monotonic() + LIMIT
    while not (found := re.search(rb"forwarding 127\.0\.0\.1:(\d+) ", line)):
        assert time.monotonic() < deadline and process.poll() is None, line
        line += os.read(process.stderr.fileno(), 4096)
    return process, int(found[1])


def test_many_connections_to_a_port_of_the_task(ours):
    process, port = open_forward(ours, "0:8080")
    try:
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: fetch(port), range(200)))
        assert len(set(answers)) == 1 and answers[0]
    finally:
        process.send_signal(signal.SIGINT)
        finish(process)


def fetch(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=LIMIT) as answer:
        return answer.read()


def test_many_connections_to_a_host_that_only_tasks_reach(ours):
    process, port = open_forward(ours, "0:echo.internal:7000")
    try:
        with ThreadPoolExecutor(20) as pool:
            assert all(pool.map(lambda number: is_echoed(port, number), range(100)))
    finally:
        process.send_signal(signal.SIGINT)
        finish(process)


def is_echoed(port, number):
    data = os.urandom(1000 * (number + 1))
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as connection:
        writing = threading.Thread(target=connection.sendall, args=(data,))
        writing.start()
        received = b""
        while len(received) < len(data):
            piece = connection.recv(65536)
            if not piece:
                break
            received += piece
        writing.join()
    return received == data


@pytest.fixture(params=["ours", "reference"])
def plugin(request, bowline):
    if request.param == "ours":
        return bowline
    if not REFERENCE:
        pytest.skip("BOWLINE_REFERENCE_PLUGIN names no program")
    return REFERENCE


@pytest.fixture
def cli(plugin, sandbox_env, tmp_path):
    """Starts the AWS CLI with that plugin."""
    (tmp_path / "session-manager-plugin").symlink_to(plugin)
    program = Path(sys.executable).with_name("aws")
    env = {
        **sandbox_env,
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "AWS_PAGER": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def start(*words, **options):
        settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([sys.executable, str(program), *words], env=env, cwd=tmp_path, **settings)

    return start


def execute(cli, world, command, **options):
    task = world.web_task()["taskArn"]
    words = ["ecs", "execute-command", "--cluster", "demo", "--task", task, "--interactive", "--command", command]
    return cli(*words, **options)


def test_the_aws_cli_runs_a_command(cli, world, plugin):
    terminal = Terminal(lambda **io: execute(cli, world, "sh -c 'echo some words; exit 3'", **io))
    terminal.until(rb"some words\r")
    terminal.until(rb"Exiting session with sessionId: \S+\.")
    assert terminal.end() == 0
    if plugin != REFERENCE:
        code, stdout, stderr = finish(execute(cli, world, "sh", stdin=subprocess.PIPE), b"echo $((6 * 7))\n")
        assert b"\n42\r\n" in between_the_banners(stdout)
        assert (code, stderr) == (0, b"")


def test_the_aws_cli_has_a_shell(cli, world):
    terminal = Terminal(lambda **io: execute(cli, world, "/bin/sh", **io), columns=91, rows=31)
    terminal.until(rb"[#$] ")
    eventually("the size has arrived", lambda: size(terminal) == (31, 91))
    terminal.type(b"sleep 1000\r")
    terminal.until(rb"sleep 1000")
    time.sleep(0.5)
    terminal.type(b"\x03")
    # What is typed before the prompt goes with the interrupt.
    terminal.until(rb"[#$] ")
    terminal.type(b"echo after=$((6 * 7))\r")
    terminal.until(rb"after=42\r")
    terminal.type(b"exit\r")
    terminal.until(rb"Exiting session")
    assert terminal.end() == 0


def test_the_aws_cli_says_why_a_command_did_not_start(cli, world):
    _, stdout, _ = finish(execute(cli, world, "/no/such"))
    text = b"Unable to start command: Failed to start pty: fork/exec /no/such: no such file or directory"
    assert text in stdout


def test_the_aws_cli_forwards_ports(cli, world, plugin):
    task = world.web_task()
    target, task_id = ssm_target(task), task["taskArn"].rsplit("/", 1)[1]
    process, port = start_forward(cli, target, "AWS-StartPortForwardingSession", portNumber=8080)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: fetch(port), range(60)))
    assert all(task_id.encode() in answer for answer in answers)
    end(process, plugin)
    document = "AWS-StartPortForwardingSessionToRemoteHost"
    process, port = start_forward(cli, target, document, host="echo.internal", portNumber=7000)
    with ThreadPoolExecutor(10) as pool:
        assert all(pool.map(lambda number: is_echoed(port, number), range(30)))
    end(process, plugin)


def end(process, plugin):
    if plugin != REFERENCE:
        return end_forward(process)
    # The CLI warns of older ones on stderr.
    os.killpg(process.pid, signal.SIGINT)
    assert b"Terminate signal received, exiting." in process.communicate(timeout=LIMIT)[0]


def test_without_a_terminal_streams_are_apart_and_the_code_is_known(ours):
    # The service's document for commands without a terminal: the agent's own frames for stderr and the code.
    code, stdout, stderr = finish(ours("exec", "--via", "ssm", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 3"))
    assert (code, stdout) == (3, b"out\n")
    assert stderr.endswith(b"err\n")


def processes(word):
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if word in line:
                found[int(entry.name)] = line.split(b"\0")[0]
    return found


def test_a_session_that_is_terminated_leaves_no_process(world):
    task = world.web_task()
    answer = world.ecs.execute_command(
        cluster="demo", task=task["taskArn"], command="sleep 86399", interactive=True
    )
    eventually("the command runs", lambda: processes(b"sleep\x0086399"))
    world.end_session(answer["session"]["sessionId"])
    eventually("the command is gone", lambda: not processes(b"sleep\x0086399"))


def test_agents_end_with_their_task(world):
    task = world.web_task()
    task_id = task["taskArn"].rsplit("/", 1)[1].encode()
    own = task_id + b"/app.agent/"
    assert {Path(name.decode()).name for name in processes(own).values()} >= {"amazon-ssm-agent", "ssm-agent-worker"}
    world.ecs.stop_task(cluster="demo", task=task["taskArn"])
    world.wait_status(task["taskArn"], "STOPPED")
    assert not processes(own)
    # Another one takes its place, with an agent.
    assert task["taskArn"] not in [task["taskArn"] for task in world.web_tasks()]


def test_an_agent_that_dies_is_shown_as_stopped(world):
    task = world.web_task()
    own = task["taskArn"].rsplit("/", 1)[1].encode() + b"/app.agent/"
    (core,) = [pid for pid, name in processes(own).items() if name.endswith(b"/amazon-ssm-agent")]
    os.kill(core, signal.SIGKILL)

    def agent():
        (agent,) = world.describe(task["taskArn"])["containers"][0]["managedAgents"]
        return agent["lastStatus"] == "STOPPED" and agent

    assert eventually("the agent is STOPPED", agent)["reason"] == "ExecuteCommandAgent process exited with exit code: 137"
    assert world.describe(task["taskArn"])["lastStatus"] == "RUNNING", "the container goes on without it"
    assert not processes(own)
    with pytest.raises(world.ecs.exceptions.TargetNotConnectedException):
        world.ecs.execute_command(cluster="demo", task=task["taskArn"], command="true", interactive=True)
