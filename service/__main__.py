"""Runs the service: `python -m service`. Its first log line that says `listening` has the URL."""

import resource
import signal
import socket
import sys
from types import FrameType
from typing import NoReturn

import structlog
import uvicorn

from ays_process.environment import BAD_CONFIGURATION, ConfigurationError
from ays_process.logs import configure_logs
from ays_store import SchemaError
from service.app import create_app
from service.schema import check_data, log_redis_mistakes
from service.serving.connection import BoundedConnection
from service.serving.listening import ListenError, listen
from service.settings import QUIET, Settings, load_settings

CANNOT_LISTEN = 1
"""Exit status when the address is taken: starting again later may help."""

_GRACE_SECONDS = 5

_OTHER_FILES = 256
"""Open files beside the connections of clients: Redis, logs, webhooks."""


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            # With port 0 nobody else knows where we are.
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            structlog.get_logger("service").info("listening", url=f"http://{shown}:{port}")


def main() -> int:
    """Serve until told to stop.

    Returns:
        Exit status: 0 after a stop, 1 when the address cannot be listened on, 2 for a configuration that cannot be used.
    """
    try:
        settings = load_settings()
        check_data(settings.redis_url)
    except (ConfigurationError, SchemaError) as error:
        sys.stderr.write(f"{error}\n")
        return BAD_CONFIGURATION
    try:
        # Before anything else runs: with the port taken there is nothing to stop again.
        taken = listen(settings.host, settings.port)
    except ListenError as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT_LISTEN
    configure_logs(settings.log_level, settings.log_format, quiet=QUIET)
    log_redis_mistakes(settings.redis_url)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Before uvicorn listens for them, and when it raises them again after everything has ended.
        signal.signal(number, _asked_to_end)
    _allow_files(settings.connection_limit)
    _Server(_config(settings)).run([taken])
    return 0


def _asked_to_end(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    sys.exit(0)


def _allow_files(connections: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _config(settings: Settings) -> uvicorn.Config:
    BoundedConnection.connections_max = settings.connection_limit
    BoundedConnection.request_seconds = settings.request_seconds
    return uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        http=BoundedConnection,
        ws="none",
    )


if __name__ == "__main__":
    sys.exit(main())
