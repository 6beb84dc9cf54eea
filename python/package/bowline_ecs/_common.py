"""What the waiting and the asyncio variant have in common."""

from __future__ import annotations

import atexit
import io
import json
import os
import re
import threading
import weakref
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import IO, Any, Deque, Iterable, Iterator, Mapping, Optional, Protocol, Sequence, Union

from . import _native
from .errors import BowlineError, CommandFailedError, SessionError, TimeLimitError, UsageError
from .events import Event, Exit, Launched, LogLine, Notice, RunEvent, Started, Status, Stderr, Stdout

#: A word of a command: text, or bytes that are not UTF-8.
Word = Union[str, bytes]
#: What a command reads: all of it, a binary file, or pieces.
Stdin = Union[bytes, bytearray, memoryview, IO[bytes], Iterable[bytes]]

#: For sessions to end when the interpreter does, in seconds.
EXIT_LIMIT = 3.0
#: What is read from a file at once.
PIECE = 64 * 1024


@dataclass(frozen=True)
class Completed:
    """A command that has ended: its exit code and all of its output."""

    code: int
    stdout: bytes
    stderr: bytes
    target: str

    @property
    def text(self) -> str:
        """`stdout` as UTF-8, without the newline at its end; what is not UTF-8 is replaced."""
        text = self.stdout.decode("utf-8", "replace")
        return text[:-1] if text.endswith("\n") else text


@dataclass(frozen=True)
class TaskResult:
    """A task that has ended: the exit code that counts, and what its containers wrote."""

    code: int
    lines: list[LogLine]
    task_id: str
    container: Optional[str]

    @property
    def text(self) -> str:
        """The lines, without a newline at the end."""
        return "\n".join(line.text for line in self.lines)


def notice(text: str) -> Notice:
    """A choice that the library made, where it names an option of the command line: as an argument."""
    return Notice(re.sub(r"--([a-z][a-z-]*)", lambda option: option[1].replace("-", "_") + "=", text))


class _Abandoned(Protocol):
    def _leave(self) -> None: ...


_live: weakref.WeakSet[Any] = weakref.WeakSet()


def remember(session: _Abandoned) -> None:
    """Has a session ended with the interpreter, if it is still there."""
    _live.add(session)


@atexit.register
def _end_all() -> None:
    for session in list(_live):
        session._leave()
    _native.finish(EXIT_LIMIT)


def where(
    target: Optional[str], cluster: Optional[str], container: Optional[str], strict: bool = False
) -> _native.Where:
    return {"target": target, "cluster": cluster, "container": container, "strict": strict}


def words(command: Sequence[Word]) -> list[bytes]:
    """The command's words as bytes."""
    if isinstance(command, (str, bytes)):
        raise UsageError(
            "the command is one text, and has to be a list of words",
            'write ["ls", "-l"], or ["sh", "-c", "ls | wc -l"] for a shell',
        )
    found = [os.fsencode(word) for word in command]
    if not found:
        raise UsageError("no command was given")
    return found


class Feed:
    """A command's stdin: bytes go with the request, everything else is read by a thread."""

    first: Optional[bytes] = None
    pieces: Optional[Iterator[bytes]] = None
    error: Optional[BaseException] = None

    def __init__(self, stdin: Optional[Stdin]) -> None:
        if stdin is None:
            return
        if isinstance(stdin, (bytes, bytearray, memoryview)):
            self.first = bytes(stdin)
            # Without a byte there would be no stdin at all, and with an empty one it ends at once: the same.
        elif isinstance(stdin, str) or isinstance(stdin, io.TextIOBase):
            raise UsageError("stdin is text", "encode it, or open the file with mode 'rb'")
        elif hasattr(stdin, "read"):
            self.pieces = _read(stdin)
        else:
            self.pieces = iter(stdin)

    def begin(self, session: _native.Exec) -> None:
        """Starts the thread, if there is something to read."""
        if self.pieces is not None:
            name = "bowline-stdin"
            threading.Thread(target=self._pump, args=(session, self.pieces), name=name, daemon=True).start()

    def _pump(self, session: _native.Exec, pieces: Iterator[bytes]) -> None:
        try:
            for piece in pieces:
                if piece and not session.write(bytes(piece)):
                    return
            session.close_stdin()
        except BaseException as error:  # The caller's, of the caller's own file.
            self.error = error
            session.abandon()


def _read(file: Any) -> Iterator[bytes]:
    read = getattr(file, "read1", None) or file.read
    while True:
        piece = read(PIECE)
        if not piece:
            return
        yield piece


def command_events(batch: list[tuple[str, Any]], into: Deque[Union[Event, BowlineError]]) -> None:
    for kind, value in batch:
        if kind == "stdout":
            into.append(Stdout(value))
        elif kind == "stderr":
            into.append(Stderr(value))
        elif kind == "notice":
            into.append(notice(value))
        elif kind == "started":
            into.append(Started(value))
        elif kind == "exit":
            into.append(Exit(value))
        else:
            into.append(value)


def task_events(batch: list[tuple[str, Any]], into: Deque[Union[RunEvent, BowlineError]]) -> None:
    for kind, value in batch:
        if kind == "line":
            container, millis, text = value
            into.append(LogLine(text, container, datetime.fromtimestamp(millis / 1000, timezone.utc)))
        elif kind == "launched":
            into.append(Launched(*value))
        elif kind == "status":
            into.append(Status(*value))
        elif kind == "notice":
            into.append(notice(value))
        elif kind == "exit":
            into.append(Exit(*value))
        else:
            into.append(value)


def wish(
    command: Optional[Sequence[str]],
    environment: Optional[Mapping[str, str]],
    overrides: Optional[Mapping[str, Any]],
    like: Optional[str],
    subnets: Sequence[str],
    security_groups: Sequence[str],
    assign_public_ip: Optional[bool],
    launch_type: Optional[str],
    platform_version: Optional[str],
    timeout: Optional[float],
    logs: bool,
    log_wait: Optional[float],
) -> _native.Wish:
    if command is not None:
        words(command)
    return {
        "command": None if command is None else list(command),
        "environment": dict(environment or {}),
        "overrides": None if overrides is None else json.dumps(overrides),
        "like": like,
        "subnets": list(subnets),
        "security_groups": list(security_groups),
        "assign_public_ip": assign_public_ip,
        "launch_type": launch_type,
        "platform_version": platform_version,
        "timeout": timeout,
        "logs": logs,
        "log_wait": log_wait,
    }


class Output:
    """Collects what a command gives."""

    def __init__(self) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.code: Optional[int] = None

    def take(self, event: Event) -> None:
        if isinstance(event, Stdout):
            self.stdout += event.data
        elif isinstance(event, Stderr):
            self.stderr += event.data
        elif isinstance(event, Exit):
            self.code = event.code

    def late(self, error: TimeLimitError) -> None:
        error.stdout, error.stderr = bytes(self.stdout), bytes(self.stderr)

    def completed(self, target: str, check: bool) -> Completed:
        if self.code is None:
            raise closed(target)
        done = Completed(self.code, bytes(self.stdout), bytes(self.stderr), target)
        if check and done.code != 0:
            raise CommandFailedError(
                f"{target}: the command ended with {done.code}",
                _last_line(done.stderr),
                target,
                code=done.code,
                stdout=done.stdout,
                stderr=done.stderr,
            )
        return done


class Lines:
    """Collects what a task gives."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self.task_id = ""
        self.end: Optional[Exit] = None

    def take(self, event: RunEvent) -> None:
        if isinstance(event, LogLine):
            self.lines.append(event)
        elif isinstance(event, Launched):
            self.task_id = event.task_id
        elif isinstance(event, Exit):
            self.end = event

    def completed(self, check: bool) -> TaskResult:
        if self.end is None:
            raise closed(f"task {self.task_id}")
        done = TaskResult(self.end.code, self.lines, self.task_id, self.end.container)
        if check and done.code != 0:
            raise CommandFailedError(
                f"task {done.task_id} ended with {done.code}",
                self.end.text,
                done.task_id,
                code=done.code,
                stdout=done.text.encode(),
            )
        return done


def closed(what: str) -> BowlineError:
    return SessionError(f"{what}: it was closed here before its end", None, what)


def _last_line(stderr: bytes) -> Optional[str]:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else None
