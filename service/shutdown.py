"""Whether the server is about to exit: open event streams end themselves then, else they would keep it alive."""

import signal

import uvicorn


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
