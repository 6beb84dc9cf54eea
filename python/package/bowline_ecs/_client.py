"""The waiting variant."""

from __future__ import annotations

from types import TracebackType
from typing import Optional

from . import _native
from ._calls import Calls
from ._given import Feed
from ._leaving import remember
from ._queue import CommandQueue, TaskQueue
from ._results import Completed, Lines, Output, TaskResult, command_events, notice, task_events
from .errors import TimeLimitError
from .events import Event, RunEvent

#: The reason of a task that is stopped because its program leaves.
LEFT = "bowline_ecs: interrupted"


class Exec(CommandQueue):
    """A command in a container: an iterator of its events.

    The last event is always `Exit`; what keeps a command from its exit code is raised. Ctrl-C while an event is waited for
    ends the command and its session, and so does `close`, leaving a `with`, and dropping the last reference.
    """

    #: `cluster/service/container`, as it was found.
    target: str

    def __init__(self, session: _native.Exec, feed: Feed) -> None:
        super().__init__(feed)
        self._session = session
        self.target, notes = session.start()
        self._events.extend(notice(note) for note in notes)
        remember(self)
        feed.begin(session)

    def __iter__(self) -> Exec:
        return self

    def __next__(self) -> Event:
        if not self._events and not self._over:
            try:
                batch = self._session.next()
            except BaseException:
                # Ctrl-C: the command ends before anybody hears of it.
                self.close()
                raise
            command_events(batch, self._events)
        return self._take(StopIteration)

    def result(self, *, check: bool = False) -> Completed:
        """Waits for the end and gives the exit code with the rest of the output, which is kept in memory.

        With `check` another code than 0 raises `CommandFailedError`.

        >>> bowline_ecs.exec("web", ["cat", "/etc/hostname"]).result(check=True).text
        'ip-10-0-1-7'
        """
        output = Output()
        try:
            for event in self:
                output.take(event)
        except TimeLimitError as error:
            output.late(error)
            raise
        return output.completed(self.target, check)

    def interrupt(self) -> None:
        """Ctrl-C for the command; its end still comes as events."""
        self._session.interrupt()

    def close(self) -> None:
        """Ends the command and its session, and waits for that: at most two seconds. Does nothing after the end."""
        self._over = True
        self._session.close()

    def _leave(self, interrupted: bool) -> None:
        self._session.abandon()

    def __enter__(self) -> Exec:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()


class Run(TaskQueue):
    """A fresh task: an iterator of its events, log lines among them.

    The last event is always `Exit`; a task that did not start, or ended otherwise than by its command, is raised. Ctrl-C
    while an event is waited for, or that ends the program, has the task stopped, and so has an exception that leaves a `with`.
    Otherwise a task that is not followed any more goes on.
    """

    def __init__(self, job: _native.Run) -> None:
        super().__init__()
        self._job = job
        self._events.extend(notice(note) for note in job.start())
        remember(self)

    def __iter__(self) -> Run:
        return self

    def __next__(self) -> RunEvent:
        if not self._events and not self._over:
            try:
                batch = self._job.next()
            except BaseException:
                self._over = True
                self._job.halt(LEFT)
                raise
            task_events(batch, self._events)
        return self._take(StopIteration)

    def result(self, *, check: bool = False) -> TaskResult:
        """Waits for the end and gives the exit code with the rest of the log lines.

        With `check` another code than 0 raises `CommandFailedError`.
        """
        lines = Lines()
        lines.task_id = self.task_id or ""
        for event in self:
            lines.take(event)
        return lines.completed(check)

    def stop(self, reason: str = "bowline_ecs: stop") -> None:
        """Has the task stopped; its end still comes as events."""
        self._job.stop(reason)

    def _leave(self, interrupted: bool) -> None:
        if interrupted and not self._over:
            self._job.abandon(LEFT)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if kind is not None and not self._over:
            self._over = True
            self._job.halt(LEFT)


class Forward:
    """A port of this machine that leads to a task, or to what the task reaches, until it is closed."""

    #: The address it listens on.
    host: str
    #: The port it listens on.
    port: int
    #: `cluster/service/container` that it leads through.
    target: str

    def __init__(self, forward: _native.Forward) -> None:
        self._forward = forward
        self.host, self.port, self.target = forward.open()
        remember(self)

    @property
    def notices(self) -> list[str]:
        """What was worth knowing lately: connections that were broken off, sessions that were replaced."""
        return self._forward.notices()

    def close(self) -> None:
        """Ends its connections and its session, and waits for that."""
        self._forward.close()

    def _leave(self, interrupted: bool) -> None:
        self._forward.abandon()

    def __enter__(self) -> Forward:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()


class Client(Calls[Exec, Run, Forward]):
    """One profile, region and endpoint, for more than one call.

    What is not given comes from where AWS SDKs look: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL, the shared files; and so do
    the credentials. It can be used by several threads.

    >>> client = bowline_ecs.Client(region="eu-west-1")
    >>> client.exec("prod/web", ["id"]).result().code
    0
    """

    #: The region that calls go to.
    region: str

    def __init__(
        self,
        *,
        profile: Optional[str] = None,
        region: Optional[str] = None,
        endpoint_url: Optional[str] = None,
    ) -> None:
        self._client = _native.Client(profile, region, endpoint_url)
        self.region = self._client.connect()

    @classmethod
    def _with_keys(cls, region: str, endpoint_url: str, keys: tuple[str, str]) -> Client:
        client = cls.__new__(cls)
        client._client = _native.Client(None, region, endpoint_url, keys)
        client.region = client._client.connect()
        return client

    def clusters(self) -> list[str]:
        """The names of all clusters."""
        return sorted(self._client.clusters())

    def _exec(self, session: _native.Exec, feed: Feed) -> Exec:
        return Exec(session, feed)

    def _run(self, job: _native.Run) -> Run:
        return Run(job)

    def _forward(self, forward: _native.Forward) -> Forward:
        return Forward(forward)
