"""What comes back: events from the engine's pairs, and all of them together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Deque, Optional, Union

from .errors import BowlineError, CommandFailedError, SessionError, TimeLimitError
from .events import Event, Exit, Launched, LogLine, Notice, RunEvent, Started, Status, Stderr, Stdout


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
