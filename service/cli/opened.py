"""The store behind the commands that need Redis alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis.exceptions import NoPermissionError, RedisError

from ays_process.environment import names_redis
from ays_process.logs import without_passwords
from ays_store import DamagedError, SchemaError, Store
from service.cli.exits import CommandError, ExitCode
from service.local.embedded_redis import EmbeddedRedis, running_url
from service.settings import load_settings


@contextmanager
def opened_store(data: Path) -> Iterator[Store]:
    """The store of the Redis that is named; else of the embedded one, started for a moment where it does not run.

    Args:
        data: folder of the embedded Redis.

    Raises:
        CommandError: Redis does not answer, refuses, or holds data of a newer version.
    """
    with _redis_url(data) as url:
        store = Store.open(url)
        try:
            store.check_schema()
            yield store
        except SchemaError as error:
            raise CommandError(str(error), ExitCode.BAD_INPUT) from None
        except NoPermissionError as error:
            message = f"this user of Redis may not do that ({error}); name one that may in AYS_REDIS_URL: docs/operating.md"
            raise CommandError(message, ExitCode.BAD_INPUT) from None
        except DamagedError as error:
            raise CommandError(str(error), ExitCode.BAD_INPUT) from None
        except RedisError as error:
            message = f"Redis does not answer: {without_passwords(str(error))}; start it, or correct AYS_REDIS_URL"
            raise CommandError(message, ExitCode.SERVICE_AWAY) from None
        finally:
            store.close()


@contextmanager
def _redis_url(data: Path) -> Iterator[str]:
    url = load_settings().redis_url if names_redis(os.environ) else running_url(data)
    if url is not None:
        yield url
        return
    with EmbeddedRedis(data / "redis") as redis:
        yield redis.url
