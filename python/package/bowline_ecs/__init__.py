"""Work inside Amazon ECS tasks from Python: every byte and the real exit code, and nothing else to install.

>>> import bowline_ecs
>>> bowline_ecs.exec("prod/web", ["ls"]).result().text
'bin  etc  srv'

`exec` runs a command in a container, `run` a fresh task to its end, `forward` leads a local port to one; `aio` has the same
for asyncio. `Sandbox`, and the pytest fixture `bowline_sandbox`, are a local AWS to try all of it on.

One runtime of threads serves the whole process. It does not survive a fork: use this in a child only if it was not used in the
parent before.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence, Union

from . import aio as aio
from ._client import Client, Exec, Forward, Run
from ._given import Stdin, Word
from ._results import Completed, TaskResult
from ._sandbox import Sandbox
from .errors import (
    AccessDeniedError,
    AwsError,
    BowlineError,
    CommandFailedError,
    ConfigurationError,
    CredentialsError,
    ForkedError,
    ForwardError,
    NotReadyError,
    OutputIncompleteError,
    SandboxError,
    SessionError,
    StatusUnknownError,
    TargetAmbiguousError,
    TargetError,
    TargetNotFoundError,
    TaskFailedError,
    ThrottledError,
    TimeLimitError,
    UnreachableError,
    UsageError,
)
from .events import Event, Exit, Launched, LogLine, Notice, RunEvent, Started, Status, Stderr, Stdout

__all__ = [
    "AccessDeniedError",
    "AwsError",
    "BowlineError",
    "Client",
    "CommandFailedError",
    "Completed",
    "ConfigurationError",
    "CredentialsError",
    "Event",
    "Exec",
    "Exit",
    "ForkedError",
    "Forward",
    "ForwardError",
    "Launched",
    "LogLine",
    "NotReadyError",
    "Notice",
    "OutputIncompleteError",
    "Run",
    "RunEvent",
    "Sandbox",
    "SandboxError",
    "SessionError",
    "Started",
    "Status",
    "StatusUnknownError",
    "Stderr",
    "Stdin",
    "Stdout",
    "TargetAmbiguousError",
    "TargetError",
    "TargetNotFoundError",
    "TaskFailedError",
    "TaskResult",
    "ThrottledError",
    "TimeLimitError",
    "UnreachableError",
    "UsageError",
    "Word",
    "aio",
    "exec",
    "forward",
    "run",
]


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
    """Runs a command in a container and gives its events: `Started`, `Stdout`, `Stderr`, `Notice`, and at last `Exit`.

    >>> for event in bowline_ecs.exec("prod/web", ["ls", "-l"]):
    ...     if isinstance(event, bowline_ecs.Stdout):
    ...         sys.stdout.buffer.write(event.data)

    - `target`: a service, task or family as in `web`, `prod/web`, `prod/web/app`, `task:3f2a`, `family:job`, `tag:team=pay`,
      or an ARN; None is the only one there is. `cluster` and `container` name what the target does not, and with `strict`
      several that match are an error.
    - `command`: its words, which arrive byte for byte; there is no shell unless you start one.
    - `stdin`: bytes, a binary file, or pieces of bytes. Without it the command reads the null device.
    - `timeout`: for how many seconds it may run, then `TimeLimitError` is raised. `wait`: how long an agent that still
      starts is waited for (60).
    - `engine`: how the output is carried. `framed` is exact; `plain` keeps a log of the session readable; `tty` gives the
      command a terminal; `bare` needs no shell in the image and learns no exit code.

    The container is found before this returns: a target that is none is raised here.
    """
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
    """Starts a fresh task and gives its events: `Launched`, `Status`, `LogLine`, `Notice`, and at last `Exit`.

    >>> bowline_ecs.run("family:migrate", ["bin/migrate", "--all"]).result(check=True).code
    0

    - `target`: a service, whose definition, network and launch type are taken, or `family:NAME`, `family:NAME:REVISION`, or
      the ARN of a definition. `like` names a service for what a family does not say.
    - `command`, `environment`: for `container`, else for the first essential one. `overrides` is what the AWS CLI and boto3
      take by that name.
    - `timeout`: after so many seconds the task is stopped, and `TimeLimitError` raised.
    - `logs`, `log_wait`: whether log lines are read, and for how many seconds at most after the end.
    """
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
    """Listens on a local port that leads to a port of the task, or to a host that the task reaches.

    >>> with bowline_ecs.forward("prod/web", "db.internal:5432") as db:
    ...     connect(host=db.host, port=db.port)

    - `remote`: a port of the task, or `HOST:PORT`.
    - `local_port`: 0 takes any that is free. `bind`: the address to listen on.
    - `relay`: reach other hosts by a program in the container, for agents that refuse to forward there.

    It is open when this returns. A session that is lost is replaced, in another task if need be.
    """
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
