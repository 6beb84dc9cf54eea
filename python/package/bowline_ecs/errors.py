"""What `bowline_ecs` raises.

Every error says what happened, to which resource, and where it can, what to do:

>>> try:
...     bowline_ecs.exec("wbe", ["ls"])
... except bowline_ecs.TargetNotFoundError as error:
...     print(error.suggestions, error.hint)
['web'] did you mean web?
"""

from __future__ import annotations

from typing import Any, Optional, Sequence

__all__ = [
    "AccessDeniedError",
    "AwsError",
    "BowlineError",
    "CommandFailedError",
    "ConfigurationError",
    "CredentialsError",
    "ForkedError",
    "ForwardError",
    "NotReadyError",
    "OutputIncompleteError",
    "SandboxError",
    "SessionError",
    "StatusUnknownError",
    "TargetAmbiguousError",
    "TargetError",
    "TargetNotFoundError",
    "TaskFailedError",
    "ThrottledError",
    "TimeLimitError",
    "UnreachableError",
    "UsageError",
]


class BowlineError(Exception):
    """The base of all of them.

    `message` says what happened, `hint` what to do about it, `resource` what it happened to (a target, a task, a call of
    an AWS API). The text of the exception is the message and the hint.
    """

    message: str
    hint: Optional[str]
    resource: Optional[str]

    def __init__(self, message: str, hint: Optional[str] = None, resource: Optional[str] = None) -> None:
        super().__init__(message if hint is None else f"{message}\n{hint}")
        self.message = message
        self.hint = hint
        self.resource = resource

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[BowlineError], args: tuple[object, ...], attributes: dict[str, object]) -> BowlineError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class UsageError(BowlineError, ValueError):
    """An argument is wrong; nothing was asked of AWS."""


class ConfigurationError(BowlineError):
    """There is no region, no such profile, or a file that cannot be read."""


class ForkedError(BowlineError, RuntimeError):
    """The process was forked after `bowline_ecs` had been used in it, and this is the child."""


class SandboxError(BowlineError):
    """A sandbox did not start."""


class TargetError(BowlineError):
    """The target cannot be used: it has no running task, its task has stopped, it is in another region."""


class TargetNotFoundError(TargetError):
    """There is no such cluster, service, task, family or container.

    `suggestions` are names near it, `candidates` the names there are.
    """

    suggestions: list[str]
    candidates: list[str]

    def __init__(
        self,
        message: str,
        hint: Optional[str] = None,
        resource: Optional[str] = None,
        *,
        suggestions: Sequence[str] = (),
        candidates: Sequence[str] = (),
    ) -> None:
        super().__init__(message, hint, resource)
        self.suggestions = list(suggestions)
        self.candidates = list(candidates)


class TargetAmbiguousError(TargetError):
    """Several things match; `candidates` are their names."""

    candidates: list[str]

    def __init__(
        self,
        message: str,
        hint: Optional[str] = None,
        resource: Optional[str] = None,
        *,
        candidates: Sequence[str] = (),
    ) -> None:
        super().__init__(message, hint, resource)
        self.candidates = list(candidates)


class AwsError(BowlineError):
    """A call of an AWS API failed.

    `operation` is the call (`ecs:ExecuteCommand`), `code` AWS's error code, `status` the HTTP status, `request_id` AWS's id
    of the request; each of the last three is None if there was none.
    """

    operation: str
    code: Optional[str]
    status: Optional[int]
    request_id: Optional[str]

    def __init__(
        self,
        message: str,
        hint: Optional[str] = None,
        resource: Optional[str] = None,
        *,
        operation: str = "",
        code: Optional[str] = None,
        status: Optional[int] = None,
        request_id: Optional[str] = None,
    ) -> None:
        super().__init__(message, hint, resource)
        self.operation = operation
        self.code = code
        self.status = status
        self.request_id = request_id


class AccessDeniedError(AwsError):
    """The caller lacks the permission for `operation`."""


class CredentialsError(AwsError):
    """There are no credentials, or AWS does not accept them."""


class ThrottledError(AwsError):
    """AWS did nothing because of a rate limit."""


class UnreachableError(AwsError):
    """No connection, no answer in time, or not an answer of AWS's."""


class SessionError(BowlineError):
    """A command could not be run, or its session could not be kept."""


class NotReadyError(SessionError):
    """The container takes no command: ECS Exec is off, its agent has stopped or is silent, or did not start in time."""


class StatusUnknownError(SessionError):
    """The session ended before the command's exit status arrived."""


class OutputIncompleteError(SessionError):
    """Some of the output did not arrive."""


class TimeLimitError(BowlineError, TimeoutError):
    """The command or task took longer than `limit` seconds and was ended.

    `stdout` and `stderr` are what came until then, if `result()` raised this.
    """

    limit: Optional[float]
    stdout: bytes
    stderr: bytes

    def __init__(
        self,
        message: str,
        hint: Optional[str] = None,
        resource: Optional[str] = None,
        *,
        limit: Optional[float] = None,
    ) -> None:
        super().__init__(message, hint, resource)
        self.limit = limit
        self.stdout = b""
        self.stderr = b""


class CommandFailedError(BowlineError):
    """`result(check=True)`: the command ended with another code than 0."""

    code: int
    stdout: bytes
    stderr: bytes

    def __init__(
        self,
        message: str,
        hint: Optional[str] = None,
        resource: Optional[str] = None,
        *,
        code: int = 1,
        stdout: bytes = b"",
        stderr: bytes = b"",
    ) -> None:
        super().__init__(message, hint, resource)
        self.code = code
        self.stdout = stdout
        self.stderr = stderr


class TaskFailedError(BowlineError):
    """A task did not start, or ended otherwise than by its command.

    `cause` is why: `NotPlaced`, `PullFailed`, `StartFailed`, `OutOfMemory`, `UserStopped`, `SpotInterrupted`,
    `Infrastructure`, `Exited` (without a code) or `Unknown`. `code` is the container's exit code, if it has one.
    """

    cause: str
    code: Optional[int]

    def __init__(
        self,
        message: str,
        hint: Optional[str] = None,
        resource: Optional[str] = None,
        *,
        cause: str = "Unknown",
        code: Optional[int] = None,
    ) -> None:
        super().__init__(message, hint, resource)
        self.cause = cause
        self.code = code


class ForwardError(BowlineError):
    """A port could not be forwarded."""
