"""The same with asyncio: `async for`, `async with`, and `await`.

>>> async for event in bowline_ecs.aio.exec("prod/web", ["tail", "-f", "/var/log/app.log"]):
...     ...

Nothing happens before the first event or result is asked for. Cancelling the task that waits for one ends the session, and
has a task of `run` stopped; this goes on in the background, and `close` waits for it.
"""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Any, Deque, Mapping, Optional, Sequence, Union

from . import _native
from ._client import LEFT
from ._given import Feed, Stdin, Word, where, wish, words
from ._leaving import remember
from ._results import Completed, Lines, Output, TaskResult, command_events, notice, task_events
from .errors import BowlineError, TimeLimitError
from .events import Event, Exit, Launched, RunEvent, Started

__all__ = ["Client", "Exec", "Forward", "Run", "exec", "forward", "run"]


class Exec:
    """A command in a container: an asynchronous iterator of its events, as `bowline_ecs.Exec` is a plain one."""

    #: `cluster/service/container`, once it was found.
    target: str = ""
    #: The session's id, once the command has started.
    session_id: Optional[str] = None
    #: The exit code, once it has ended.
    code: Optional[int] = None

    def __init__(self, session: _native.Exec, feed: Feed) -> None:
        self._session = session
        self._feed = feed
        self._events: Deque[Union[Event, BowlineError]] = deque()
        self._started = False
        self._over = False

    def __aiter__(self) -> Exec:
        return self

    async def __anext__(self) -> Event:
        if not self._events and not self._over:
            try:
                await self._start()
                if not self._events:
                    command_events(await self._session.next_async(), self._events)
            except BaseException:
                self._over = True
                self._session.abandon()
                raise
        if not self._events:
            self._over = True
            if self._feed.error is not None:
                raise self._feed.error
            raise StopAsyncIteration
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

    async def result(self, *, check: bool = False) -> Completed:
        """Waits for the end and gives the exit code with the rest of the output.

        With `check` another code than 0 raises `CommandFailedError`.
        """
        output = Output()
        try:
            async for event in self:
                output.take(event)
        except TimeLimitError as error:
            output.late(error)
            raise
        return output.completed(self.target, check)

    async def interrupt(self) -> None:
        """Ctrl-C for the command; its end still comes as events."""
        await self._session.interrupt_async()

    async def close(self) -> None:
        """Ends the command and its session, and waits for that: at most two seconds."""
        self._over = True
        await self._session.close_async()

    async def _start(self) -> None:
        if not self._started:
            self.target, notes = await self._session.start_async()
            self._started = True
            self._events.extend(notice(note) for note in notes)
            remember(self)
            self._feed.begin(self._session)

    def _leave(self, interrupted: bool) -> None:
        self._session.abandon()

    async def __aenter__(self) -> Exec:
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()


class Run:
    """A fresh task: an asynchronous iterator of its events, as `bowline_ecs.Run` is a plain one."""

    #: The task's id, once it was started.
    task_id: Optional[str] = None
    #: The task's ARN, once it was started.
    task_arn: Optional[str] = None
    #: The exit code, once it has ended.
    code: Optional[int] = None

    def __init__(self, job: _native.Run) -> None:
        self._job = job
        self._events: Deque[Union[RunEvent, BowlineError]] = deque()
        self._started = False
        self._over = False

    def __aiter__(self) -> Run:
        return self

    async def __anext__(self) -> RunEvent:
        if not self._events and not self._over:
            try:
                await self._start()
                if not self._events:
                    task_events(await self._job.next_async(), self._events)
            except BaseException:
                self._halt()
                raise
        if not self._events:
            self._over = True
            raise StopAsyncIteration
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

    async def result(self, *, check: bool = False) -> TaskResult:
        """Waits for the end and gives the exit code with the rest of the log lines.

        With `check` another code than 0 raises `CommandFailedError`.
        """
        lines = Lines()
        lines.task_id = self.task_id or ""
        async for event in self:
            lines.take(event)
        return lines.completed(check)

    def stop(self, reason: str = "bowline_ecs: stop") -> None:
        """Has the task stopped; its end still comes as events."""
        self._job.stop(reason)

    async def _start(self) -> None:
        if not self._started:
            notes = await self._job.start_async()
            self._started = True
            remember(self)
            self._events.extend(notice(note) for note in notes)

    def _halt(self) -> None:
        self._over = True
        self._job.abandon(LEFT)

    def _leave(self, interrupted: bool) -> None:
        if interrupted and not self._over:
            self._halt()

    async def __aenter__(self) -> Run:
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if kind is not None and not self._over:
            self._halt()


class Forward:
    """A port of this machine that leads to a task, for `async with`; `await forward.open()` opens it without."""

    #: The address it listens on.
    host: str = ""
    #: The port it listens on, once it is open.
    port: int = 0
    #: `cluster/service/container` that it leads through.
    target: str = ""

    def __init__(self, forward: _native.Forward) -> None:
        self._forward = forward

    async def open(self) -> Forward:
        """Listens, and waits until connections are served."""
        try:
            self.host, self.port, self.target = await self._forward.open_async()
        except BaseException:
            self._forward.abandon()
            raise
        remember(self)
        return self

    @property
    def notices(self) -> list[str]:
        """What was worth knowing lately: connections that were broken off, sessions that were replaced."""
        return self._forward.notices()

    async def close(self) -> None:
        """Ends its connections and its session, and waits for that."""
        await self._forward.close_async()

    def _leave(self, interrupted: bool) -> None:
        self._forward.abandon()

    async def __aenter__(self) -> Forward:
        return await self.open()

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()


class Client:
    """One profile, region and endpoint, for more than one call, as `bowline_ecs.Client`.

    The configuration is read at the first call.
    """

    def __init__(
        self,
        *,
        profile: Optional[str] = None,
        region: Optional[str] = None,
        endpoint_url: Optional[str] = None,
    ) -> None:
        self._client = _native.Client(profile, region, endpoint_url)

    def exec(
        self,
        target: Optional[str],
        command: Sequence[Word],
        *,
        cluster: Optional[str] = None,
        container: Optional[str] = None,
        strict: bool = False,
        engine: str = "framed",
        stdin: Optional[Stdin] = None,
        timeout: Optional[float] = None,
        wait: Optional[float] = None,
    ) -> Exec:
        """Runs a command in a container; see `bowline_ecs.exec`."""
        feed = Feed(stdin)
        session = _native.Exec(
            self._client,
            where(target, cluster, container, strict),
            words(command),
            engine=engine,
            stdin=feed.pieces is not None,
            first=feed.first,
            timeout=timeout,
            wait=wait,
        )
        return Exec(session, feed)

    def run(
        self,
        target: Optional[str],
        command: Optional[Sequence[str]] = None,
        *,
        cluster: Optional[str] = None,
        container: Optional[str] = None,
        environment: Optional[Mapping[str, str]] = None,
        overrides: Optional[Mapping[str, Any]] = None,
        like: Optional[str] = None,
        subnets: Sequence[str] = (),
        security_groups: Sequence[str] = (),
        assign_public_ip: Optional[bool] = None,
        launch_type: Optional[str] = None,
        platform_version: Optional[str] = None,
        timeout: Optional[float] = None,
        logs: bool = True,
        log_wait: Optional[float] = None,
    ) -> Run:
        """Starts a fresh task and follows it; see `bowline_ecs.run`."""
        wanted = wish(
            command,
            environment,
            overrides,
            like,
            subnets,
            security_groups,
            assign_public_ip,
            launch_type,
            platform_version,
            timeout,
            logs,
            log_wait,
        )
        return Run(_native.Run(self._client, where(target, cluster, container), wanted))

    def forward(
        self,
        target: Optional[str],
        remote: Union[int, str],
        *,
        local_port: int = 0,
        bind: str = "127.0.0.1",
        cluster: Optional[str] = None,
        container: Optional[str] = None,
        relay: bool = False,
        wait: Optional[float] = None,
    ) -> Forward:
        """Forwards a local port; see `bowline_ecs.forward`."""
        return Forward(
            _native.Forward(
                self._client,
                where(target, cluster, container),
                str(remote),
                local_port=local_port,
                bind=bind,
                relay=relay,
                wait=wait,
            )
        )


def exec(
    target: Optional[str],
    command: Sequence[Word],
    *,
    profile: Optional[str] = None,
    region: Optional[str] = None,
    endpoint_url: Optional[str] = None,
    cluster: Optional[str] = None,
    container: Optional[str] = None,
    strict: bool = False,
    engine: str = "framed",
    stdin: Optional[Stdin] = None,
    timeout: Optional[float] = None,
    wait: Optional[float] = None,
) -> Exec:
    """Runs a command in a container; see `bowline_ecs.exec`."""
    client = Client(profile=profile, region=region, endpoint_url=endpoint_url)
    return client.exec(
        target,
        command,
        cluster=cluster,
        container=container,
        strict=strict,
        engine=engine,
        stdin=stdin,
        timeout=timeout,
        wait=wait,
    )


def run(
    target: Optional[str],
    command: Optional[Sequence[str]] = None,
    *,
    profile: Optional[str] = None,
    region: Optional[str] = None,
    endpoint_url: Optional[str] = None,
    cluster: Optional[str] = None,
    container: Optional[str] = None,
    environment: Optional[Mapping[str, str]] = None,
    overrides: Optional[Mapping[str, Any]] = None,
    like: Optional[str] = None,
    subnets: Sequence[str] = (),
    security_groups: Sequence[str] = (),
    assign_public_ip: Optional[bool] = None,
    launch_type: Optional[str] = None,
    platform_version: Optional[str] = None,
    timeout: Optional[float] = None,
    logs: bool = True,
    log_wait: Optional[float] = None,
) -> Run:
    """Starts a fresh task and follows it; see `bowline_ecs.run`."""
    client = Client(profile=profile, region=region, endpoint_url=endpoint_url)
    return client.run(
        target,
        command,
        cluster=cluster,
        container=container,
        environment=environment,
        overrides=overrides,
        like=like,
        subnets=subnets,
        security_groups=security_groups,
        assign_public_ip=assign_public_ip,
        launch_type=launch_type,
        platform_version=platform_version,
        timeout=timeout,
        logs=logs,
        log_wait=log_wait,
    )


def forward(
    target: Optional[str],
    remote: Union[int, str],
    *,
    profile: Optional[str] = None,
    region: Optional[str] = None,
    endpoint_url: Optional[str] = None,
    local_port: int = 0,
    bind: str = "127.0.0.1",
    cluster: Optional[str] = None,
    container: Optional[str] = None,
    relay: bool = False,
    wait: Optional[float] = None,
) -> Forward:
    """Forwards a local port; see `bowline_ecs.forward`."""
    client = Client(profile=profile, region=region, endpoint_url=endpoint_url)
    return client.forward(
        target,
        remote,
        local_port=local_port,
        bind=bind,
        cluster=cluster,
        container=container,
        relay=relay,
        wait=wait,
    )
