"""The same with asyncio: `async for`, `async with`, and `await`.

>>> async for event in bowline_ecs.aio.exec("prod/web", ["tail", "-f", "/var/log/app.log"]):
...     ...

Nothing happens before the first event or result is asked for. Cancelling the task that waits for one ends the session, and
has a task of `run` stopped; this goes on in the background, and `close` waits for it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Mapping, Optional, Sequence, Union

from . import _native
from ._calls import Calls
from ._client import LEFT
from ._given import Feed, Stdin, Word
from ._leaving import remember
from ._queue import CommandQueue, TaskQueue
from ._results import Completed, Lines, Output, TaskResult, command_events, notice, task_events
from .errors import TimeLimitError
from .events import Event, RunEvent

__all__ = ["Client", "Exec", "Forward", "Run", "exec", "forward", "run"]


class Exec(CommandQueue):
    """A command in a container: an asynchronous iterator of its events, as `bowline_ecs.Exec` is a plain one."""

    #: `cluster/service/container`, once it was found.
    target: str = ""

    def __init__(self, session: _native.Exec, feed: Feed) -> None:
        super().__init__(feed)
        self._session = session
        self._started = False

    def __aiter__(self) -> Exec:
        return self

    async def __anext__(self) -> Event:
        if not self._events and not self._over:
            await self._start()
        if not self._events and not self._over:
            try:
                command_events(await self._session.next_async(), self._events)
            except BaseException:
                self._abandon()
                raise
        return self._take(StopAsyncIteration)

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
            try:
                self.target, notes = await self._session.start_async()
            except BaseException:
                self._abandon()
                raise
            self._started = True
            self._events.extend(notice(note) for note in notes)
            remember(self)
            self._feed.begin(self._session)

    def _abandon(self) -> None:
        self._over = True
        self._session.abandon()

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


class Run(TaskQueue):
    """A fresh task: an asynchronous iterator of its events, as `bowline_ecs.Run` is a plain one."""

    def __init__(self, job: _native.Run) -> None:
        super().__init__()
        self._job = job
        self._started = False

    def __aiter__(self) -> Run:
        return self

    async def __anext__(self) -> RunEvent:
        if not self._events and not self._over:
            await self._start()
        if not self._events and not self._over:
            try:
                task_events(await self._job.next_async(), self._events)
            except BaseException:
                self._halt()
                raise
        return self._take(StopAsyncIteration)

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
            try:
                notes = await self._job.start_async()
            except BaseException:
                self._halt()
                raise
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


class Client(Calls[Exec, Run, Forward]):
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

    def _exec(self, session: _native.Exec, feed: Feed) -> Exec:
        return Exec(session, feed)

    def _run(self, job: _native.Run) -> Run:
        return Run(job)

    def _forward(self, forward: _native.Forward) -> Forward:
        return Forward(forward)


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
