"""Sessions that are still there when the interpreter ends."""

from __future__ import annotations

import atexit
import sys
import weakref
from typing import Any, Protocol

from . import _native

#: For them to end, and for tasks to be asked to stop, in seconds.
EXIT_LIMIT = 10.0


class _Abandoned(Protocol):
    def _leave(self, interrupted: bool) -> None: ...


_live: weakref.WeakSet[Any] = weakref.WeakSet()


def remember(session: _Abandoned) -> None:
    """Has a session ended with the interpreter, if it is still there."""
    _live.add(session)


@atexit.register
def _end_all() -> None:
    # Nobody has caught a Ctrl-C, wherever it came.
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    for session in list(_live):
        session._leave(interrupted)
    _native.finish(EXIT_LIMIT)
