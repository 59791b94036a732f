"""What is looked at in Redis before anything is served: whether this version may use its data, and whether it keeps what it is given."""

import contextlib

import structlog
from redis.exceptions import RedisError

from ays_store import Store

_log = structlog.get_logger("service")


def check_data(redis_url: str) -> None:
    """Look at the data before anything uses it; a Redis that is away is looked at by `/readyz` when it is back.

    Args:
        redis_url: where it is.

    Raises:
        SchemaError: it was written by a version that this one does not know.
    """
    store = Store.open(redis_url)
    try:
        with contextlib.suppress(RedisError):
            store.check_schema()
    finally:
        store.close()


def log_redis_mistakes(redis_url: str) -> None:
    """Log the settings of Redis that lose what was accepted, a line each; one that is away is not waited for.

    Args:
        redis_url: where it is.
    """
    store = Store.open(redis_url)
    try:
        for mistake in store.redis_mistakes():
            _log.warning("redis is set up wrongly", setting=mistake.kind, seen=mistake.seen, fix=mistake.fix)
    except RedisError:
        pass
    finally:
        store.close()
