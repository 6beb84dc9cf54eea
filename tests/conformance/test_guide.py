"""The transcript of docs/guide/sandbox.md: each command is run, and prints what the guide says."""

import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "sandbox.md"
LIMIT = 240
# What differs from run to run, on both sides.
VARYING = [
    (re.compile(r"\b[0-9a-f]{32}\b"), "TASK"),
    (re.compile(r"\b(sandbox|ecs-execute-command)-[a-z0-9]{20,}\b"), r"\1-ID"),
    (re.compile(r"\bPort \d+ opened"), "Port N opened"),
]


def steps():
    """Commands and what is printed after them, in order."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def steady(text):
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return text.replace("\r\n", "\n")


def test_the_guide_shows_what_happens(sandbox_env, bowline, world, tmp_path):
    world.web_tasks()
    (tmp_path / "session-manager-plugin").symlink_to(bowline)
    (tmp_path / "aws").symlink_to(Path(sys.executable).with_name("aws"))
    env = {**sandbox_env, "HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin", "AWS_PAGER": "", "LANG": "C.UTF-8"}
    expected = steps()
    assert len(expected) > 12
    mark = "=====next====="
    script = "".join(f"{command}\necho '{mark}'\n" for command, _ in expected)
    done = subprocess.run(
        ["bash", "-c", script], env=env, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, text=True
    )
    said = done.stdout.split(f"{mark}\n")
    assert said.pop() == "", (done.stdout, done.stderr)
    shown = "".join(f"$ {command}\n{steady(output)}" for (command, _), output in zip(expected, said, strict=True))
    wanted = "".join(f"$ {command}\n{steady(output)}" for command, output in expected)
    assert shown == wanted, done.stderr
    assert done.stderr == ""
