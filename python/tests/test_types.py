"""The types: what mypy --strict says of the package, the example and the tests, and whether the stub is true."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import time
from pathlib import Path

import bowline_ecs

ROOT = Path(__file__).parents[1]

USES = """
import bowline_ecs
from bowline_ecs import aio

def words() -> None:
    for event in bowline_ecs.exec("web", ["ls", b"-l"], stdin=b"x"):
        reveal_type(event)
    reveal_type(bowline_ecs.exec("web", ["ls"]).result(check=True).stdout)
    reveal_type(bowline_ecs.run("web").result().lines)
    with bowline_ecs.forward("web", 80) as forward:
        reveal_type(forward.port)

async def later() -> None:
    async for event in aio.run("web"):
        reveal_type(event)

bowline_ecs.exec("web", 7)
bowline_ecs.exec("web", ["ls"], stdin="text")
bowline_ecs.exec("web", ["ls"], timout=3)
"""


def checked(*arguments: str, cwd: Path) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_package_is_strict(tmp_path: Path) -> None:
    sources = [str(ROOT / "package" / "bowline_ecs"), str(ROOT / "examples" / "lambda_exec.py"), str(Path(__file__).parent)]
    flags = ["--strict", "--cache-dir", str(tmp_path / "cache"), "--no-warn-unused-ignores"]
    ignored = ["--disable-error-code", "import-untyped", "--disable-error-code", "import-not-found"]
    code, said = checked("mypy", *flags, *ignored, *sources, cwd=tmp_path)
    assert code == 0, said


def test_users_see_the_types(tmp_path: Path) -> None:
    """From the installed package, which is marked as typed."""
    (tmp_path / "uses.py").write_text(USES)
    code, said = checked("mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "uses.py", cwd=tmp_path)
    assert code == 1, said
    revealed = [line.split('"')[1] for line in said.splitlines() if "Revealed type" in line]
    short = [text.replace("bowline_ecs.events.", "").replace("bowline_ecs._results.", "").replace("builtins.", "") for text in revealed]
    assert short == [
        "Started | Stdout | Stderr | Notice | Exit",
        "bytes",
        "list[LogLine]",
        "int",
        "Launched | Status | LogLine | Notice | Exit",
    ], said
    errors = [line.rsplit("[", 1)[1] for line in said.splitlines() if ": error: " in line]
    assert errors == ["arg-type]", "arg-type]", "call-arg]"], said


def test_the_stub_says_what_the_engine_has(tmp_path: Path) -> None:
    code, said = checked("mypy.stubtest", "bowline_ecs._native", cwd=tmp_path)
    assert code == 0, said


def test_everything_public_is_documented() -> None:
    for module in (bowline_ecs, bowline_ecs.aio):
        for name in module.__all__:
            thing = getattr(module, name)
            # The unions of events, of words and of what stdin can be have comments.
            if inspect.isclass(thing) or inspect.isfunction(thing) or inspect.ismodule(thing):
                assert thing.__doc__, f"{module.__name__}.{name} has no text"


def test_import_is_quick() -> None:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import bowline_ecs"], check=True)
    took = time.monotonic() - began
    bare = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    print(f"import: {took - (time.monotonic() - bare):.3f} s")
    # Every pytest run where it is installed pays this; a debug build on a busy machine has to pass.
    assert took < 10


def test_the_lock_file_is_the_workspaces() -> None:
    """Other versions would be other code than the program's, and .ci/run would compile the AWS SDK a second time."""
    entry = re.compile(r'^name = "(.*)"\nversion = "(.*)"$', re.MULTILINE)
    of_workspace = entry.findall((ROOT.parent / "Cargo.lock").read_text())
    known = {name for name, _ in of_workspace}
    own = [one for one in entry.findall((ROOT / "Cargo.lock").read_text()) if one[0] in known]
    assert len(own) > 200
    mend = "cp Cargo.lock python/ && cargo update --workspace --manifest-path python/Cargo.toml"
    assert set(own) <= set(of_workspace), mend
