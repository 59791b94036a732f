"""The version of what is stored below our prefix, so that an older program refuses data that a newer one has written."""

from typing import Any

from redis import Redis

from ays_store import keys
from ays_store.damage import Place, reading

SCHEMA = 1
"""Version of the layout that this program reads and writes; a step for every change that the program before would misread."""


class SchemaError(Exception):
    """The stored data is of a version that this program does not know."""


def check_schema(redis: Redis) -> None:
    """Marks a store that has no version yet with ours; what was stored before there was a mark is of version 1.

    Args:
        redis: where the store is.

    Raises:
        SchemaError: it has another version.
        redis.RedisError: it cannot be asked, or refuses the mark.
    """
    client: Any = redis
    with reading(Place(keys.SCHEMA)):
        found = client.get(keys.SCHEMA)
    if found is None:
        client.set(keys.SCHEMA, str(SCHEMA), nx=True)
        found = client.get(keys.SCHEMA)
    if found is None or found == str(SCHEMA).encode():
        return
    received = repr(found.decode(errors="replace")[:20])
    msg = (
        f"the data in Redis has the schema version {received}, expected {SCHEMA}; a newer version of this service wrote it: "
        "upgrade this one, or give it a Redis database of its own in AYS_REDIS_URL"
    )
    raise SchemaError(msg)
