"""Sessions that are still there when the interpreter ends."""

from __future__ import annotations

import atexit
import weakref
from typing import Any, Protocol

from . import _native

#: For them to end, in seconds.
EXIT_LIMIT = 3.0


class _Abandoned(Protocol):
    def _leave(self) -> None: ...


_live: weakref.WeakSet[Any] = weakref.WeakSet()


def remember(session: _Abandoned) -> None:
    """Has a session ended with the interpreter, if it is still there."""
    _live.add(session)


@atexit.register
def _end_all() -> None:
    for session in list(_live):
        session._leave()
    _native.finish(EXIT_LIMIT)
