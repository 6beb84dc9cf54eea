"""What happens while a command or a task runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Optional, Union

__all__ = [
    "Event",
    "Exit",
    "Launched",
    "LogLine",
    "Notice",
    "RunEvent",
    "Started",
    "Status",
    "Stderr",
    "Stdout",
]


@dataclass(frozen=True)
class Started:
    """The command is about to start, in this session."""

    session_id: str


@dataclass(frozen=True)
class Stdout:
    """Bytes of the command's stdout, as they come: a line, a part of one, or several."""

    data: bytes


@dataclass(frozen=True)
class Stderr:
    """Bytes of the command's stderr."""

    data: bytes


@dataclass(frozen=True)
class Notice:
    """Something a person may want to know, such as a choice that was made or a connection that was restored."""

    text: str


@dataclass(frozen=True)
class Exit:
    """The end, and always the last event.

    `code` is the command's own: 126 and 127 for commands that cannot be started, 128+N for a signal. Of a task it is the
    exit code of `container`, and `text` says why it ended if there is more to say.
    """

    code: int
    container: Optional[str] = None
    text: Optional[str] = None


@dataclass(frozen=True)
class Launched:
    """The task was started."""

    task_id: str
    task_arn: str


@dataclass(frozen=True)
class Status:
    """The task has changed; `text` is what to say after its name, as in `is PENDING`."""

    task_id: str
    text: str


@dataclass(frozen=True)
class LogLine:
    """A line that a container wrote; `container` is None where a log stream is shared by several."""

    text: str
    container: Optional[str]
    time: datetime


#: What a command gives.
Event = Union[Started, Stdout, Stderr, Notice, Exit]
#: What a task gives.
RunEvent = Union[Launched, Status, LogLine, Notice, Exit]
