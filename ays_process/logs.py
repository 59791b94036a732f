"""Logs on standard error, one event a line, ours and those of the libraries."""

import logging
import re
import sys
from typing import Any, Literal

import structlog

LogLevel = Literal["debug", "info", "warning", "error"]
"""Lowest level that is written."""

LogFormat = Literal["json", "text"]
"""One JSON object a line, for machines; or text, for people at a terminal."""

_PASSWORD = re.compile(r"(?<=://)([^/\s@:]*):[^/\s@]+(?=@)")
_WEBHOOK_SECRET = re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]+")
_API_KEY = re.compile(r"\b(ays_[0-9a-f]{12})_[A-Za-z0-9_-]+")


def configure_logs(level: LogLevel, form: LogFormat, *, quiet: tuple[str, ...] = ()) -> None:
    """Send every log record of this process to standard error.

    Args:
        level: lowest level that is written.
        form: how a line looks.
        quiet: loggers that are kept to warnings unless the level is `debug`.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(form)]
        )
    )
    root = logging.getLogger()
    for logger in [each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger)]:
        # A server that imports us has set up its own ones before.
        logger.handlers.clear()
        logger.propagate = True
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in quiet:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def without_passwords(text: str) -> str:
    """The same text with the passwords of its URLs masked, the secret part of its API keys, and the secrets of webhooks."""
    return _WEBHOOK_SECRET.sub("whsec_***", _API_KEY.sub(r"\1_***", _PASSWORD.sub(r"\1:***", text)))


def _rendering(form: LogFormat) -> list[structlog.typing.Processor]:
    if form == "json":
        return [structlog.processors.format_exc_info, _mask, structlog.processors.JSONRenderer()]
    # Traces are text by the time it is masked, so the renderer has none to draw.
    plain = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    return [structlog.processors.format_exc_info, _mask, plain]


def _mask(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    # A library's error may quote the URL that it was given, with the password of Redis or of a proxy.
    return {name: without_passwords(value) if isinstance(value, str) else value for name, value in event.items()}
