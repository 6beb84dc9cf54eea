"""Images that podman runs for the sandbox: what is in them, how they end, and that nothing of them stays.

podman itself is asked for what there is. BOWLINE_PODMAN=1 says that podman has to be there; where it is there and the
machine refuses its containers, this file says so and nothing here runs.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import pytest

from conftest import OUTSIDE, Started
from test_plugin import between_the_banners, cli, end_forward, start_forward  # noqa: F401 (a fixture)
from world import eventually, ssm_target

LIMIT = 120
IMAGE = "localhost/bowline-conformance:1"
ROLE = "arn:aws:iam::123456789012:role/ecs-task"
# crun refuses some arrangements of control groups that runc takes.
SETTINGS = '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'


def podman(place, *words, **options):
    env = {**os.environ, "CONTAINERS_CONF": str(place / "containers.conf")}
    done = subprocess.run(["podman", *words], env=env, capture_output=True, timeout=LIMIT, **options)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace").strip()


def pack(place):
    """The files of an image: busybox with its libraries, under the names of its applets."""
    busybox = shutil.which("busybox")
    assert busybox, "there is no busybox to make an image of"
    needed = subprocess.run(["ldd", busybox], capture_output=True, text=True).stdout
    libraries = [word for word in needed.split() if word.startswith("/")]
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    archive = place / "image.tar"
    with tarfile.open(archive, "w", dereference=True) as image:
        image.add(busybox, "bin/busybox")
        for library in libraries:
            image.add(os.path.realpath(library), library.lstrip("/"))
        for name in applets:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                image.addfile(link)
        for folder in ("app", "dev", "etc", "proc", "sys", "tmp"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            image.addfile(entry)
    return archive


def reason_against(place):
    """Why podman runs no container here; None if it does."""
    if not shutil.which("podman"):
        assert OUTSIDE.get("BOWLINE_PODMAN") != "1", "BOWLINE_PODMAN=1, and there is no podman"
        return "there is no podman"
    (place / "containers.conf").write_text(SETTINGS)
    changes = ["--change", "ENV COLOUR=blue", "--change", "WORKDIR /app", "--change", 'CMD ["sleep","1000"]']
    code, _, said = podman(place, "import", *changes, str(pack(place)), IMAGE)
    if code:
        return f"podman imports no image: {said}"
    limits = ["--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000"]
    code, _, said = podman(place, "run", "--rm", "--network", "host", *limits, IMAGE, "true")
    return f"podman runs no container: {said}" if code else None


@pytest.fixture(scope="module", autouse=True)
def place():
    """The settings of podman, and the image in its store."""
    with tempfile.TemporaryDirectory(prefix="bowline-podman-") as folder:
        place = Path(folder)
        if reason := reason_against(place):
            print(f"test_runtime.py: NOT RUN: {reason}", file=sys.__stderr__)
            pytest.skip(reason)
        yield place
        podman(place, "rmi", "--force", IMAGE)


def start(bowline, place, folder):
    return Started(bowline, folder, "--runtime", "podman", extra={"CONTAINERS_CONF": str(place / "containers.conf")})


@pytest.fixture(scope="module")
def sandbox(bowline, place):
    others = ours_at_podman(place)
    with tempfile.TemporaryDirectory(prefix="bowline-runtime-") as folder:
        sandbox = start(bowline, place, folder)
        try:
            yield sandbox
        finally:
            sandbox.stop()
    assert ours_at_podman(place) <= others


@pytest.fixture(scope="module")
def sandbox_env(sandbox):
    return sandbox.env


def client(env, service):
    return boto3.client(
        service,
        endpoint_url=env["BOWLINE_ENDPOINT"],
        region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture(scope="module")
def ecs(sandbox):
    return client(sandbox.env, "ecs")


def ours_at_podman(place):
    _, found, _ = podman(place, "ps", "--all", "--quiet", "--filter", "label=bowline.sandbox.owner")
    return set(found.decode().split())


def launch(ecs, family, **container):
    """Starts a task of one container; its ARN."""
    definition = {"name": "main", "image": IMAGE, "essential": True, **container}
    ecs.register_task_definition(family=family, taskRoleArn=ROLE, containerDefinitions=[definition], memory="128")
    started = ecs.run_task(cluster="demo", taskDefinition=family, enableExecuteCommand=True)
    return started["tasks"][0]["taskArn"]


def described(ecs, arn):
    (task,) = ecs.describe_tasks(cluster="demo", tasks=[arn])["tasks"]
    return task


def reaches(ecs, arn, status):
    def there():
        task = described(ecs, arn)
        return task if task["lastStatus"] == status else None

    return eventually(f"the task is {status}", there, seconds=LIMIT)


@pytest.fixture(scope="module")
def web(ecs):
    """A container that serves its /app on a port of its own."""
    script = "echo of the image > /app/x; exec httpd -f -p 127.0.0.1:18473 -h /app"
    arn = launch(ecs, "runtime-web", command=["sh", "-c", script])
    reaches(ecs, arn, "RUNNING")
    yield arn.rsplit("/", 1)[1]
    ecs.stop_task(cluster="demo", task=arn)


@pytest.fixture(scope="module")
def ours(bowline, sandbox, tmp_path_factory):
    home = tmp_path_factory.mktemp("bowline")
    env = {**sandbox.env, "HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}

    def run(*words, **options):
        settings = {"capture_output": True, "timeout": LIMIT, **options}
        done = subprocess.run([bowline, *words], env=env, **settings)
        return done.returncode, done.stdout, done.stderr

    return run


def test_a_command_is_in_the_image(ours, web):
    script = "cat /app/x; echo $COLOUR; pwd; hostname; id -u; ls /bin/bash; exit 3"
    code, stdout, stderr = ours("exec", web, "--", "sh", "-c", script)
    colour = stdout.decode().splitlines()
    assert colour[:3] == ["of the image", "blue", "/app"]
    assert colour[3].endswith(".ec2.internal") and colour[4] == "0"
    assert (code, b"/bin/bash: No such file" in stderr) == (3, True)


def test_every_byte_and_its_input_come_through(ours, web):
    noise = os.urandom(3_000_000)
    assert ours("exec", "-i", web, "--", "cat", input=noise)[:2] == (0, noise)


def test_what_the_image_does_not_have(ours, web):
    assert ours("exec", web, "--", "bash")[0] == 127
    assert ours("exec", web, "--", "/etc")[0] == 126


def test_files_stay_in_the_container(ours, web, tmp_path):
    there = f"/bowline-{os.getpid()}"
    (tmp_path / "f").write_text("copied\n")
    assert ours("cp", str(tmp_path / "f"), f"{web}:{there}")[0] == 0
    assert ours("exec", web, "--", "cat", there)[1] == b"copied\n"
    assert not os.path.exists(there)


def test_a_port_by_the_aws_cli(cli, ecs, web):
    target = ssm_target(described(ecs, web))
    process, port = start_forward(cli, target, "AWS-StartPortForwardingSession", portNumber=18473)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/x", timeout=LIMIT) as answer:
        assert answer.read() == b"of the image\n"
    end_forward(process)


def test_a_command_by_the_aws_cli(cli, web):
    words = ["--cluster", "demo", "--task", web, "--interactive", "--command", "cat /app/x"]
    stdout, stderr = cli("ecs", "execute-command", *words).communicate(timeout=LIMIT)
    assert between_the_banners(stdout) == b"of the image\r\n", stderr


def test_output_and_code_of_a_task(ecs, sandbox):
    options = {"awslogs-group": "/runtime", "awslogs-region": "us-east-1", "awslogs-create-group": "true"}
    options["awslogs-stream-prefix"] = "r"
    arn = launch(
        ecs,
        "runtime-job",
        entryPoint=["sh", "-c"],
        command=["echo $GREETING, $COLOUR; echo and this >&2; exit 5"],
        environment=[{"name": "GREETING", "value": "hello"}],
        logConfiguration={"logDriver": "awslogs", "options": options},
    )
    (container,) = reaches(ecs, arn, "STOPPED")["containers"]
    assert container["exitCode"] == 5
    logs = client(sandbox.env, "logs")
    stream = f"r/main/{arn.rsplit('/', 1)[1]}"
    events = logs.get_log_events(logGroupName="/runtime", logStreamName=stream, startFromHead=True)["events"]
    assert [event["message"] for event in events] == ["hello, blue", "and this"]


def test_a_task_that_is_stopped_is_asked_first(ecs):
    script = "trap 'exit 7' TERM; while :; do sleep 0.1; done"
    arn = launch(ecs, "runtime-trap", command=["sh", "-c", script])
    reaches(ecs, arn, "RUNNING")
    ecs.stop_task(cluster="demo", task=arn)
    (container,) = reaches(ecs, arn, "STOPPED")["containers"]
    assert container["exitCode"] == 7


def test_a_check_runs_in_the_image(ecs):
    check = {"command": ["CMD", "test", "-e", "/bin/busybox", "-a", "!", "-e", "/usr/bin/python3"], "interval": 5}
    arn = launch(ecs, "runtime-health", healthCheck=check)
    eventually("it is healthy", lambda: described(ecs, arn)["healthStatus"] == "HEALTHY", seconds=LIMIT)
    ecs.stop_task(cluster="demo", task=arn)


def test_what_cannot_start_says_why(ecs):
    task = reaches(ecs, launch(ecs, "runtime-none", image="localhost/bowline-none:1"), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError: localhost/bowline-none:1: ")

    task = reaches(ecs, launch(ecs, "runtime-nope", command=["nope"]), "STOPPED")
    assert task["stoppedReason"].startswith("CannotStartContainerError: ")
    assert '"nope": executable file not found' in task["stoppedReason"]


def test_nothing_outlives_a_sandbox_that_is_killed(bowline, place):
    with tempfile.TemporaryDirectory(prefix="bowline-runtime-") as folder:
        killed = start(bowline, place, folder)
        port = 18474
        ecs = client(killed.env, "ecs")
        others = ours_at_podman(place)
        reaches(ecs, launch(ecs, "runtime-left", command=["httpd", "-f", "-p", f"127.0.0.1:{port}"]), "RUNNING")
        assert answers(port)
        left = ours_at_podman(place) - others
        assert left
        killed.process.kill()
        killed.process.wait(LIMIT)
        eventually("its processes are gone", lambda: not answers(port), seconds=20)
    with tempfile.TemporaryDirectory(prefix="bowline-runtime-") as folder:
        # What podman still knows of them goes with the next sandbox.
        start(bowline, place, folder).stop()
    assert not left & ours_at_podman(place)


def answers(port):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
