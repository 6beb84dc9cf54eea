"""Events that have come and are not taken yet, whether they are waited for or awaited."""

from __future__ import annotations

from collections import deque
from typing import Deque, Optional, Union

from ._given import Feed
from .errors import BowlineError
from .events import Event, Exit, Launched, RunEvent, Started

#: What an iterator raises when there is nothing more.
Stop = Union[type[StopIteration], type[StopAsyncIteration]]


class CommandQueue:
    """Of a command in a container."""

    #: The session's id, once the command has started.
    session_id: Optional[str] = None
    #: The exit code, once it has ended.
    code: Optional[int] = None

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._events: Deque[Union[Event, BowlineError]] = deque()
        self._over = False

    def _take(self, stop: Stop) -> Event:
        if not self._events:
            self._over = True
            if self._feed.error is not None:
                raise self._feed.error
            raise stop
        event = self._events.popleft()
        if isinstance(event, BowlineError):
            self._over = True
            raise event
        if isinstance(event, Started):
            self.session_id = event.session_id
        elif isinstance(event, Exit):
            self._over = True
            self.code = event.code
        return event


class TaskQueue:
    """Of a fresh task."""

    #: The task's id, once it was started.
    task_id: Optional[str] = None
    #: The task's ARN, once it was started.
    task_arn: Optional[str] = None
    #: The exit code, once it has ended.
    code: Optional[int] = None

    def __init__(self) -> None:
        self._events: Deque[Union[RunEvent, BowlineError]] = deque()
        self._over = False

    def _take(self, stop: Stop) -> RunEvent:
        if not self._events:
            self._over = True
            raise stop
        event = self._events.popleft()
        if isinstance(event, BowlineError):
            self._over = True
            raise event
        if isinstance(event, Launched):
            self.task_id, self.task_arn = event.task_id, event.task_arn
        elif isinstance(event, Exit):
            self._over = True
            self.code = event.code
        return event
