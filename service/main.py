"""The application configured by the environment: `uvicorn service.main:app`."""

import sys

from fastapi import FastAPI

from service.app import create_app
from service.logs import configure_logs
from service.settings import BAD_CONFIGURATION, ConfigurationError, load_settings


def _app() -> FastAPI:
    try:
        settings = load_settings()
    except ConfigurationError as error:
        # Uvicorn imports this module: an exception would be shown as a stack trace.
        sys.stderr.write(f"{error}\n")
        sys.exit(BAD_CONFIGURATION)
    configure_logs(settings.log_level)
    return create_app(settings)


app = _app()
