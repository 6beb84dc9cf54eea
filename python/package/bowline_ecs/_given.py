"""What callers give, as the engine takes it."""

from __future__ import annotations

import io
import os
import threading
from typing import TYPE_CHECKING, IO, Any, Iterable, Iterator, Optional, Sequence, TypedDict, Union

from .errors import UsageError

if TYPE_CHECKING:
    from . import _native

#: A word of a command: text, or bytes that are not UTF-8.
Word = Union[str, bytes]
#: What a command reads: all of it, a binary file, or pieces.
Stdin = Union[bytes, bytearray, memoryview, IO[bytes], Iterable[bytes]]
#: What is read from a file at once.
PIECE = 64 * 1024


class Where(TypedDict):
    """Which container."""

    target: Optional[str]
    cluster: Optional[str]
    container: Optional[str]
    strict: bool


class Wish(TypedDict):
    """How a task is started, besides where."""

    command: Optional[list[str]]
    environment: dict[str, str]
    overrides: Optional[str]
    like: Optional[str]
    subnets: list[str]
    security_groups: list[str]
    assign_public_ip: Optional[bool]
    launch_type: Optional[str]
    platform_version: Optional[str]
    timeout: Optional[float]
    logs: bool
    log_wait: Optional[float]


def where(
    target: Optional[str], cluster: Optional[str], container: Optional[str], strict: bool = False
) -> Where:
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
