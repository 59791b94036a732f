"""Whether this version may use the data that it finds in Redis."""

import contextlib

from redis.exceptions import RedisError

from ays_store import Store


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
