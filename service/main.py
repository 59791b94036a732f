"""The application configured by the environment: `uvicorn service.main:app`."""

import sys

from fastapi import FastAPI

from ays_process.environment import BAD_CONFIGURATION, ConfigurationError
from ays_process.logs import configure_logs
from ays_store import SchemaError
from service.app import create_app
from service.schema import check_data, log_redis_mistakes
from service.settings import QUIET, load_settings


def _app() -> FastAPI:
    try:
        settings = load_settings()
        check_data(settings.redis_url)
    except (ConfigurationError, SchemaError) as error:
        # Uvicorn imports this module: an exception would be shown as a stack trace.
        sys.stderr.write(f"{error}\n")
        sys.exit(BAD_CONFIGURATION)
    configure_logs(settings.log_level, settings.log_format, quiet=QUIET)
    log_redis_mistakes(settings.redis_url)
    return create_app(settings)


app = _app()
