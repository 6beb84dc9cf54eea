"""The AWS CLI with bowline as its session-manager-plugin, with nothing but the sandbox's environment."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from test_control import control
from world import ssm_target

LIMIT = 120


@pytest.fixture(scope="module")
def cli(sandbox_env, bowline, tmp_path_factory):
    """Starts the CLI with a PATH that holds a link to bowline and the shell's own programs."""
    home = tmp_path_factory.mktemp("home")
    (home / "session-manager-plugin").symlink_to(bowline)
    program = Path(sys.executable).with_name("aws")
    env = {
        **sandbox_env,
        "HOME": str(home),
        "PATH": f"{home}:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "AWS_PAGER": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def start(*words, **options):
        settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([sys.executable, str(program), *words], env=env, cwd=home, **settings)

    return start


@pytest.fixture
def execute(cli, world):
    def run(command, stdin=b"", **options):
        task = world.web_task()["taskArn"]
        words = ["ecs", "execute-command", "--cluster", "demo", "--task", task, "--interactive", "--command", command]
        process = cli(*words, stdin=subprocess.PIPE, **options)
        stdout, stderr = process.communicate(stdin, timeout=LIMIT)
        return process.returncode, stdout, stderr

    return run


def between_the_banners(stdout):
    """What the session itself printed."""
    found = re.fullmatch(
        rb"\nThe Session Manager plugin was installed successfully\. Use the AWS CLI to start a session\.\n\n"
        rb"\nStarting session with SessionId: (?P<id>\S+)\n"
        rb"(?P<output>.*)"
        rb"\n\nExiting session with sessionId: (?P=id)\.\n\n",
        stdout,
        re.DOTALL,
    )
    assert found, stdout
    return found["output"]


def test_a_command_from_a_pipe(execute):
    code, stdout, stderr = execute("sh -c 'echo some words; exit 3'")
    assert between_the_banners(stdout) == b"some words\r\n"
    # ECS tells nobody how a command ended: the plugin cannot know.
    assert (code, stderr) == (0, b"")


def test_a_shell_reads_its_stdin_to_the_end(execute):
    code, stdout, _ = execute("sh", stdin=b"echo $((6 * 7))\n")
    assert b"\n42\r\n" in between_the_banners(stdout)
    assert code == 0


def test_without_a_terminal_anywhere(execute):
    code, stdout, stderr = execute("echo no terminal", start_new_session=True)
    assert between_the_banners(stdout) == b"no terminal\r\n"
    assert (code, stderr) == (0, b"")


def test_twenty_megabytes(execute):
    code, stdout, _ = execute("sh -c 'head -c 20000000 /dev/zero | tr \"\\0\" x; echo; echo end'")
    output = between_the_banners(stdout)
    assert len(output) == 20_000_000 + len(b"\r\nend\r\n")
    assert output.strip(b"x") == b"\r\nend\r\n"
    assert code == 0


def test_a_command_that_cannot_be_started_is_an_error(execute):
    code, stdout, _ = execute("no-such-program")
    assert b'exec: "no-such-program": executable file not found in $PATH' in stdout
    assert code == 255


def start_forward(cli, target, document, **parameters):
    given = ",".join(f"{name}={value}" for name, value in parameters.items())
    words = ["ssm", "start-session", "--target", target, "--document-name", document, "--parameters", given]
    process = cli(*words, start_new_session=True)
    said = b""
    deadline = time.monotonic() + LIMIT
    while b"Waiting for connections..." not in said:
        assert time.monotonic() < deadline
        piece = os.read(process.stdout.fileno(), 4096)
        assert piece, (said, process.communicate())
        said += piece
    port = re.search(rb"\nPort (\d+) opened for sessionId \S+\.\nWaiting", said)
    assert port, said
    return process, int(port[1])


def end_forward(process):
    # As the terminal does it: everybody in the foreground. The CLI itself ignores it.
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=LIMIT)
    assert b"Terminate signal received, exiting." in stdout
    assert (process.returncode, stderr) == (0, b"")


def test_a_port_of_the_task(cli, world):
    task = world.web_task()
    target, task_id = ssm_target(task), task["taskArn"].rsplit("/", 1)[1]
    process, port = start_forward(cli, target, "AWS-StartPortForwardingSession", portNumber=8080)
    for _ in range(3):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=LIMIT) as answer:
            assert task_id in answer.read().decode()
    end_forward(process)


def test_a_port_of_another_host(cli, world):
    target = ssm_target(world.web_task())
    document = "AWS-StartPortForwardingSessionToRemoteHost"
    process, port = start_forward(cli, target, document, host="db.demo.internal", portNumber=5432)
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as connection:
        # PostgreSQL's question for TLS, to which its answer is one letter.
        connection.sendall(bytes([0, 0, 0, 8, 4, 210, 22, 47]))
        assert connection.recv(1) in (b"N", b"S")
    end_forward(process)


def test_a_lost_connection_is_restored(cli, world):
    command = "sh -c 'for i in 1 2 3 4 5 6; do echo line $i; sleep 0.3; done'"
    task = world.web_task()["taskArn"]
    words = ["ecs", "execute-command", "--cluster", "demo", "--task", task, "--interactive", "--command", command]
    process = cli(*words)
    said = b""
    while b"line 2" not in said:
        piece = os.read(process.stdout.fileno(), 4096)
        assert piece, (said, process.communicate())
        said += piece
    session_id = re.search(rb"SessionId: (\S+)\n", said)[1].decode()
    status, _ = control(world, "CutSession", sessionId=session_id)
    assert status == 200
    rest, stderr = process.communicate(timeout=LIMIT)
    # The CLI names the endpoint of ECS for exec sessions; a sandbox has all services there.
    assert between_the_banners(said + rest) == b"".join(b"line %d\r\n" % i for i in range(1, 7))
    assert process.returncode == 0, stderr
    assert b"it was restored" in stderr


def test_the_host_of_aws_through_the_sandbox_as_its_proxy(bowline, tmp_path):
    from conftest import Started

    sandbox = Started(bowline, tmp_path, "--impersonate")
    try:
        env = {**sandbox.env, "HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin", "AWS_PAGER": ""}
        (tmp_path / "session-manager-plugin").symlink_to(bowline)
        aws = [sys.executable, str(Path(sys.executable).with_name("aws"))]

        def run(*words):
            done = subprocess.run(
                [*aws, *words], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT
            )
            assert done.returncode == 0, done
            return done.stdout

        tasks = ["ecs", "list-tasks", "--cluster", "demo", "--service-name", "web"]
        task = run(*tasks, "--query", "taskArns[0]", "--output", "text").decode().strip()
        words = ["ecs", "execute-command", "--cluster", "demo", "--task", task, "--interactive", "--command", "echo hi"]
        assert between_the_banners(run(*words)) == b"hi\r\n"

        import boto3

        made = boto3.client(
            "ecs",
            endpoint_url=env["AWS_ENDPOINT_URL"],
            region_name=env["AWS_REGION"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        ).execute_command(cluster="demo", task=task, command="true", interactive=True)
        host = f"ssmmessages.{env['AWS_REGION']}.amazonaws.com"
        assert made["session"]["streamUrl"].startswith(f"wss://{host}/v1/data-channel/")

        def connect(to):
            port = int(env["HTTPS_PROXY"].rsplit(":", 1)[1])
            with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as proxy:
                proxy.sendall(f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n".encode())
                return int(proxy.recv(4096).split()[1])

        assert connect(f"{host}:443") == 200
        refused = [f"{host}:80", "ecs.us-east-1.amazonaws.com:443", "127.0.0.1:22", f"x.{host}:443"]
        assert {connect(to) for to in refused} == {403}
    finally:
        sandbox.stop()
