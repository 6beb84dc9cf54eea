"""bowline's own sessions under cut sockets, as boto3 sees what they leave behind."""

import os
import subprocess

from test_control import control, own  # noqa: F401  (a fixture)

SCRIPT = "cat; echo out; echo err >&2; exit 7"


def run(bowline, world, *words, given=b""):
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **world.env}
    command = [bowline, "exec", "--reconnect-for", "60s", *words]
    return subprocess.run(command, input=given, capture_output=True, env=env, timeout=120)


def left(world):
    """Sessions that are not over."""
    return world.ssm.describe_sessions(State="Active")["Sessions"]


def test_a_cut_at_every_message_leaves_no_session_behind(bowline, own):
    world = own("--agent-start-delay", "0")
    for direction in ("up", "down"):
        for boundary in range(200):
            assert control(world, "SetFaults", **{f"cut-{direction}": f"frame:{boundary}"})[0] == 200
            done = run(bowline, world, "-i", "web", "--", "sh", "-c", SCRIPT, given=b"fed\n")
            assert (done.returncode, done.stdout) == (7, b"fed\nout\n"), (direction, boundary, done)
            assert done.stderr.endswith(b"err\n") or b"err\n" in done.stderr
            assert left(world) == [], (direction, boundary)
            if b"was lost" not in done.stderr:
                assert boundary >= 3, "nothing was cut"
                break
        else:
            raise AssertionError("a short session has fewer messages")


def test_a_stream_cut_again_and_again_leaves_no_session_behind(bowline, own):
    world = own("--agent-start-delay", "0")
    control(world, "SetFaults", **{"cuts-down": "50/5MB", "seed": 21})
    script = "i=0; while [ $i -lt 50000 ]; do echo $i; i=$((i+1)); done; exit 3"
    done = run(bowline, world, "web", "--", "sh", "-c", script)
    assert done.returncode == 3, done.stderr
    assert done.stdout == b"".join(b"%d\n" % n for n in range(50000))
    assert left(world) == []
    assert control(world, "GetFaults")[1]["happened"]["cut"] > 0
