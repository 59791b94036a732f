"""Whether the server is about to exit: open event streams end themselves then, else they would keep it alive."""

import asyncio
import signal
from collections.abc import Sequence

import structlog
import uvicorn

_log = structlog.get_logger("service")

_CANCELLATIONS, _CANCEL_SECONDS = 6, 0.5


class Shutdown:
    """Knows whether the uvicorn server that runs this process has been told to stop.

    Uvicorn waits for open responses before it runs the application's own shutdown, so a stream that waits for that
    would never end. While it serves, uvicorn's signal handler is a method of its server, whose flag says it earlier.
    Make one inside the lifespan. Under another server, or outside the main thread, it never says so, and the stream's
    capped lifetime and the server's grace period end it.
    """

    def __init__(self) -> None:
        owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        self._server = owner if isinstance(owner, uvicorn.Server) else None

    @property
    def begun(self) -> bool:
        """Whether the server has been told to stop."""
        return self._server is not None and self._server.should_exit


async def stop_tasks(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended, for a bounded time.

    A cancellation may be lost: `asyncio.wait_for` of Python 3.11 swallows one that comes as its inner wait ends, and redis-py waits by it
    during a handshake.

    Args:
        tasks: what to stop; a task that has failed is logged.
    """
    waiting = set(tasks)
    for _ in range(_CANCELLATIONS):
        for task in waiting:
            task.cancel()
        if waiting:
            _, waiting = await asyncio.wait(waiting, timeout=_CANCEL_SECONDS)
    for task in tasks:
        if task in waiting:
            _log.warning("a background task does not end; the process ends without it", task=task.get_name())
        elif not task.cancelled() and task.exception() is not None:
            _log.error("a background task has failed", task=task.get_name(), exc_info=task.exception())
