"""What a client starts, whether it is waited for or awaited."""

from __future__ import annotations

import json
from typing import Any, Generic, Mapping, Optional, Sequence, TypeVar, Union

from . import _native
from ._given import Feed, Stdin, Wish, Word, where, words

E = TypeVar("E")
R = TypeVar("R")
F = TypeVar("F")


class Calls(Generic[E, R, F]):
    """The calls of both clients, which differ in what they give for them."""

    _client: _native.Client

    def _exec(self, session: _native.Exec, feed: Feed) -> E:
        raise NotImplementedError

    def _run(self, job: _native.Run) -> R:
        raise NotImplementedError

    def _forward(self, forward: _native.Forward) -> F:
        raise NotImplementedError

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
    ) -> E:
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
        return self._exec(session, feed)

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
    ) -> R:
        """Starts a fresh task and follows it; see `bowline_ecs.run`."""
        if command is not None:
            words(command)
        wish: Wish = {
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
        return self._run(_native.Run(self._client, where(target, cluster, container), wish))

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
    ) -> F:
        """Forwards a local port; see `bowline_ecs.forward`."""
        forward = _native.Forward(
            self._client,
            where(target, cluster, container),
            str(remote),
            local_port=local_port,
            bind=bind,
            relay=relay,
            wait=wait,
        )
        return self._forward(forward)
