"""Commands: what arrives, what is raised, and what is left behind."""

from __future__ import annotations

import gc
import hashlib
import io
import os
import pickle
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import bowline_ecs
from bowline_ecs import Client, Exit, Notice, Sandbox, Started, Stderr, Stdout
from conftest import LIMIT, active_sessions, eventually, is_gone, program

#: A command that says which process it is and stays.
STAYS = ["sh", "-c", "echo $$; exec sleep 600"]


def test_events_come_in_order_and_end_with_the_real_code(inside: Sandbox) -> None:
    events = list(bowline_ecs.exec("demo/web", ["sh", "-c", "printf out; printf err >&2; exit 7"]))
    kinds = [type(event) for event in events if not isinstance(event, Notice)]
    assert kinds[0] is Started and kinds[-1] is Exit and set(kinds) == {Started, Stdout, Stderr, Exit}
    assert b"".join(event.data for event in events if isinstance(event, Stdout)) == b"out"
    assert b"".join(event.data for event in events if isinstance(event, Stderr)) == b"err"
    assert events[-1] == Exit(7)
    # Which of the two tasks was taken is said, not guessed.
    assert any(isinstance(event, Notice) and "newest of 2" in event.text for event in events)


def test_a_command_is_seen_while_it_runs(client: Client) -> None:
    with client.exec("web", STAYS) as session:
        assert session.target == "demo/web/app" and session.code is None
        event = next(event for event in session if isinstance(event, Stdout))
        assert session.session_id is not None and session.session_id.startswith("ecs-execute-command-")
        process = int(event.data)
        assert not is_gone(process)
    eventually(lambda: is_gone(process), "leaving the block has not ended the command")


def test_words_arrive_byte_for_byte(client: Client) -> None:
    given: list[bowline_ecs.Word] = ["", "two words", "it's \"quoted\"", "a\nb", "日本", b"\xff\xfe", "$HOME", "*"]
    script = 'for word; do printf "%s\\0" "$word"; done'
    got = client.exec("web", ["sh", "-c", script, "sh", *given]).result(check=True).stdout
    assert got == b"".join(os.fsencode(word) + b"\0" for word in given)


def test_20_mb_of_output_are_identical(client: Client) -> None:
    # The same bytes on both sides, from a generator that has every byte in it and repeats nothing.
    make = "import sys,hashlib\nfor n in range(20):\n sys.stdout.buffer.write(hashlib.shake_128(str(n).encode()).digest(1<<20))"
    began = time.monotonic()
    digest, size = hashlib.sha256(), 0
    for event in client.exec("web", [sys.executable, "-c", make], timeout=300):
        if isinstance(event, Stdout):
            digest.update(event.data)
            size += len(event.data)
    wanted = hashlib.sha256()
    for number in range(20):
        wanted.update(hashlib.shake_128(str(number).encode()).digest(1 << 20))
    assert (size, digest.hexdigest()) == (20 << 20, wanted.hexdigest())
    print(f"20 MiB in {time.monotonic() - began:.1f} s")


@pytest.mark.parametrize("kind", ["bytes", "file", "pieces", "empty"])
def test_stdin_arrives_whole(client: Client, tmp_path: Path, kind: str) -> None:
    data = b"" if kind == "empty" else bytes(range(256)) * 1024
    file = tmp_path / "in"
    file.write_bytes(data)
    with file.open("rb") as opened:
        stdin: Any = {"bytes": data, "empty": io.BytesIO(b""), "file": opened, "pieces": iter([data[:7], b"", data[7:]])}[kind]
        done = client.exec("web", ["cat"], stdin=stdin).result(check=True)
    assert done.stdout == data and done.stderr == b""


def test_a_broken_stdin_is_the_callers_own_error(client: Client) -> None:
    def broken() -> Any:
        yield b"some"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        client.exec("web", ["cat"], stdin=broken()).result()


@pytest.mark.parametrize("engine, code", [("framed", 3), ("plain", 3), ("tty", 3)])
def test_engines_know_the_code(client: Client, engine: str, code: int) -> None:
    done = client.exec("web", ["sh", "-c", "echo said; exit 3"], engine=engine).result()
    assert (done.code, done.text.strip()) == (code, "said")


def test_without_a_shell_the_status_is_unknown(client: Client) -> None:
    with pytest.raises(bowline_ecs.StatusUnknownError) as raised:
        client.exec("web", ["echo", "said"], engine="bare").result()
    assert raised.value.resource == "demo/web/app"


def test_result_checks_the_code(client: Client) -> None:
    command = ["sh", "-c", "echo half; echo 'no space left' >&2; exit 28"]
    assert client.exec("web", command).result() == bowline_ecs.Completed(28, b"half\n", b"no space left\n", "demo/web/app")
    with pytest.raises(bowline_ecs.CommandFailedError) as raised:
        client.exec("web", command).result(check=True)
    assert (raised.value.code, raised.value.stdout) == (28, b"half\n")
    assert str(raised.value) == "demo/web/app: the command ended with 28\nno space left"


def test_a_time_limit_ends_the_command_and_keeps_what_came(client: Client) -> None:
    with pytest.raises(bowline_ecs.TimeLimitError) as raised:
        client.exec("web", STAYS, timeout=1.5).result()
    assert isinstance(raised.value, TimeoutError) and raised.value.limit == 1.5
    eventually(lambda: is_gone(int(raised.value.stdout)), "the command goes on after its time")


@pytest.mark.parametrize(
    "target, options, error, text",
    [
        ("wbe", {}, bowline_ecs.TargetNotFoundError, "wbe was not found in cluster demo\ndid you mean web?"),
        ("dmeo/web", {}, bowline_ecs.TargetNotFoundError, "cluster dmeo was not found in us-east-1\ndid you mean demo?"),
        ("a/b/c/d", {}, bowline_ecs.UsageError, "has too many parts"),
        ("web", {"container": "ap"}, bowline_ecs.TargetNotFoundError, "did you mean app?"),
        ("web", {"cluster": "not a name"}, bowline_ecs.UsageError, "cluster name"),
        ("web", {"engine": "steam"}, bowline_ecs.UsageError, "framed, plain, tty, bare and native"),
        ("web", {"timeout": -1}, bowline_ecs.UsageError, "timeout=-1 is not a number of seconds"),
        ("web", {"stdin": "text"}, bowline_ecs.UsageError, "encode it"),
    ],
)
def test_mistakes_are_told_apart(
    client: Client, target: str, options: dict[str, Any], error: type[bowline_ecs.BowlineError], text: str
) -> None:
    with pytest.raises(error) as raised:
        client.exec(target, ["true"], **options)
    assert text in str(raised.value)
    again = pickle.loads(pickle.dumps(raised.value))
    assert type(again) is error and vars(again) == vars(raised.value)


def test_a_command_is_a_list(client: Client) -> None:
    with pytest.raises(bowline_ecs.UsageError, match="a list of words"):
        client.exec("web", "ls -l")
    with pytest.raises(bowline_ecs.UsageError, match="no command"):
        client.exec("web", [])


def test_suggestions_are_there_to_use(client: Client) -> None:
    with pytest.raises(bowline_ecs.TargetNotFoundError) as raised:
        client.exec("wbe", ["true"])
    assert (raised.value.resource, raised.value.suggestions, raised.value.candidates) == ("wbe", ["web"], ["web"])


def test_what_aws_says_is_kept(inside: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(bowline_ecs.CredentialsError) as raised:
        bowline_ecs.exec("web", ["true"])
    assert raised.value.operation.startswith("ecs:") and raised.value.code and raised.value.request_id
    assert raised.value.hint and "secret key" in raised.value.hint
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(bowline_ecs.UnreachableError):
        bowline_ecs.exec("web", ["true"])
    with pytest.raises(bowline_ecs.ConfigurationError, match="profile nobody"):
        bowline_ecs.exec("web", ["true"], profile="nobody")


@pytest.mark.bowline_sandbox(scenarios=["exec-disabled"])
def test_a_container_that_takes_no_command(bowline_sandbox: Sandbox) -> None:
    with pytest.raises(bowline_ecs.NotReadyError) as raised:
        bowline_ecs.exec("web", ["true"], wait=1).result()
    assert raised.value.resource == "demo/web/app" and raised.value.hint


def test_interrupt_is_ctrl_c_for_the_command(client: Client) -> None:
    session = client.exec("web", ["sh", "-c", "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done"])
    said = b""
    for event in session:
        if isinstance(event, Stdout):
            said += event.data
            if said == b"ready\n":
                session.interrupt()
    assert (said, session.code) == (b"ready\ncaught\n", 5)


def test_other_threads_work_while_one_waits(client: Client, sandbox: Sandbox) -> None:
    """The GIL is free: this would deadlock if a waiting session held it."""
    # A container takes two sessions at a time.
    eventually(lambda: active_sessions(sandbox) == 0, "a session of another test is still there")
    first = client.exec("web", ["sh", "-c", "read line; echo got $line"], stdin=slow_line())
    assert first.result(check=True).text == "got word"
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(client.exec("web", ["echo", str(n)]).result().stdout))  # type: ignore[misc]
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert sorted(results) == [b"0\n", b"1\n"]


def slow_line() -> Any:
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        pass  # Python at work, in the thread that reads stdin
    yield b"word\n"


def test_close_from_another_thread_ends_the_iteration(client: Client) -> None:
    session = client.exec("web", STAYS)
    process = int(next(event for event in session if isinstance(event, Stdout)).data)
    closing = threading.Timer(0.2, session.close)
    closing.start()
    assert list(session) == []
    closing.join(LIMIT)
    eventually(lambda: is_gone(process), "close has not ended the command")


@pytest.mark.bowline_sandbox()
def test_nothing_is_left_of_a_dropped_session(bowline_sandbox: Sandbox) -> None:
    for event in bowline_ecs.exec("web", STAYS):
        if isinstance(event, Stdout):
            process = int(event.data)
            break
    gc.collect()
    eventually(lambda: is_gone(process), "the command goes on")
    eventually(lambda: active_sessions(bowline_sandbox) == 0, "the session is still there")


WAITS = """
import bowline_ecs, sys
try:
    for event in bowline_ecs.exec("web", ["sh", "-c", "echo $$; exec sleep 600"]):
        if isinstance(event, bowline_ecs.Stdout):
            print(event.data.decode(), end="", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(42)
"""


def test_ctrl_c_at_a_terminal_ends_the_session(bowline_sandbox: Sandbox, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    ran = program(
        WAITS, bowline_sandbox, tmp_path, before=["setsid", "-c"], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    os.close(theirs)
    assert ran.stdout is not None
    process = int(ran.stdout.readline())
    began = time.monotonic()
    os.write(ours, b"\x03")
    said, errors = ran.communicate(timeout=LIMIT)
    os.close(ours)
    assert (said, ran.returncode) == (b"interrupted\n", 42), errors
    print(f"Ctrl-C to exit: {time.monotonic() - began:.2f} s")
    eventually(lambda: active_sessions(bowline_sandbox) == 0, "the session is still there")
    eventually(lambda: is_gone(process), "the command goes on")


def test_a_program_that_ends_takes_its_sessions_along(bowline_sandbox: Sandbox, tmp_path: Path) -> None:
    text = WAITS.replace('end="", flush=True)', 'end="", flush=True)\n            sys.exit(0)')
    ran = program(text, bowline_sandbox, tmp_path, stdout=subprocess.PIPE)
    said, _ = ran.communicate(timeout=LIMIT)
    assert ran.returncode == 0
    eventually(lambda: active_sessions(bowline_sandbox) == 0, "the session is still there")
    eventually(lambda: is_gone(int(said)), "the command goes on")


FORKS = """
import bowline_ecs, os, sys
assert bowline_ecs.exec("web", ["true"]).result().code == 0
kept = bowline_ecs.exec("web", ["sleep", "600"])
child = os.fork()
if child == 0:
    try:
        bowline_ecs.exec("web", ["true"])
    except bowline_ecs.ForkedError as error:
        print(error, flush=True)
        del kept
        sys.exit(7)  # with everything that is done at exit
    os._exit(1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
assert bowline_ecs.exec("web", ["true"]).result().code == 0
kept.close()
"""


def test_a_forked_child_is_told(inside: Sandbox, tmp_path: Path) -> None:
    ran = program(FORKS, inside, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said, errors = ran.communicate(timeout=LIMIT)
    assert ran.returncode == 0, errors.decode()
    assert b"before this process was forked" in said and errors == b""


def test_a_signal_handler_of_pythons_runs_meanwhile(client: Client) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
    try:
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        for event in client.exec("web", ["sleep", "1"]):
            pass
        timer.join(LIMIT)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]


def test_lost_connections_lose_nothing() -> None:
    with Sandbox(faults=["cut-every=byte:64KB"]) as sandbox:
        done = sandbox.client().exec("web", ["seq", "100000"]).result(check=True)
    assert done.stdout == b"".join(b"%d\n" % n for n in range(1, 100001))
