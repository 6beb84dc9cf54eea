"""A local AWS for tests, as a process of its own."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Optional, Sequence, Union

from . import _native
from ._client import Client
from .errors import SandboxError, UsageError

#: What the process runs: this package's engine, found by its path, without `site` and without a user's files. Python's own
#: handler of SIGINT and the signals that it ignores are not for containers.
_BOOT = (
    "import sys, _signal as s, importlib.machinery as m, importlib.util as u\n"
    "s.signal(s.SIGINT, s.SIG_DFL)\n"
    "s.signal(s.SIGXFSZ, s.SIG_DFL)\n"
    "p = u.spec_from_loader('_native', m.ExtensionFileLoader('_native', sys.argv[1]))\n"
    "n = u.module_from_spec(p)\n"
    "p.loader.exec_module(n)\n"
    "sys.exit(n.sandbox_process(sys.argv[2:]))\n"
)
#: For it to be ready; it takes some tenths of a second.
_READY_LIMIT = 60.0
#: For it to end its containers.
_END_LIMIT = 15.0


class Sandbox:
    """A local AWS with ECS tasks that are real processes: ECS, Session Manager, CloudWatch Logs and more, on loopback.

    It holds a demo world (cluster `demo` with the service `web`, the family `job`), or the clusters of a world file. It ends
    with `close`, with its `with` block, and with this process, however that ends.

    >>> with bowline_ecs.Sandbox() as sandbox:
    ...     sandbox.client().exec("web", ["echo", "hello"]).result().text
    'hello'

    - `world`: a file that says what it holds, in YAML or JSON.
    - `agent`: `fast`, or `stock`, which waits and damages some bytes as the real agent does; more words after commas.
    - `scenarios`, `faults`: what is wrong in it, as `bowline sandbox --scenario help` and `--fault help` list them.

    There is no isolation: its containers can touch the files of this machine as any program can.
    """

    #: The URL of every API.
    endpoint: str
    #: Its region.
    region: str
    #: The variables that lead AWS programs to it; None means that one has to be unset.
    environment: dict[str, Optional[str]]

    def __init__(
        self,
        world: Optional[Union[str, os.PathLike[str]]] = None,
        *,
        agent: str = "fast",
        scenarios: Sequence[str] = (),
        faults: Sequence[str] = (),
        region: str = "us-east-1",
    ) -> None:
        if not sys.executable:
            raise SandboxError("the path of the Python interpreter is not known", "start one with `bowline sandbox`")
        for name, given in (("scenarios", scenarios), ("faults", faults)):
            if isinstance(given, str):
                raise UsageError(f"{name} is one text, and has to be a list")
        command = [sys.executable, "-I", "-S", "-c", _BOOT, str(_native.__file__)]
        wanted = {
            "command": command,
            "world": None if world is None else str(Path(world).resolve()),
            "agent": agent,
            "scenarios": list(scenarios),
            "faults": list(faults),
            "region": region,
        }
        self.region = region
        self._process = subprocess.Popen(
            [*command, json.dumps(wanted)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A Ctrl-C at the terminal is for the program that uses it.
            start_new_session=True,
        )
        try:
            answer = self._first_line()
            self.endpoint = answer["endpoint"]
            self.environment = answer["environment"]
        except BaseException:
            self.close()
            raise

    def client(self) -> Client:
        """A `Client` of this sandbox, whatever the environment says."""
        environment = self.environment
        keys = (environment["AWS_ACCESS_KEY_ID"] or "", environment["AWS_SECRET_ACCESS_KEY"] or "")
        return Client._with_keys(self.region, self.endpoint, keys)

    @property
    def clusters(self) -> list[str]:
        """The names of its clusters."""
        return self.client().clusters()

    @property
    def cluster(self) -> str:
        """`demo`, or the first cluster of the world file."""
        clusters = self.clusters
        return "demo" if "demo" in clusters else clusters[0]

    def close(self) -> None:
        """Ends it and every container it has started."""
        process = self._process
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_END_LIMIT)
        except subprocess.TimeoutExpired:
            # Its containers notice by themselves.
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def _first_line(self) -> dict[str, Any]:
        out = self._process.stdout
        assert out is not None
        deadline = time.monotonic() + _READY_LIMIT
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([out], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise SandboxError(f"the sandbox was not ready within {_READY_LIMIT:.0f} s")
            piece = os.read(out.fileno(), 65536)
            if not piece:
                raise SandboxError(f"the sandbox ended before it was ready (exit code {self._process.wait()})")
            line += piece
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SandboxError(f"the sandbox cannot start: {answer['error']}")
        return answer
