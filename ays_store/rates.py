"""Rates: how many requests somebody may make in a time, counted in Redis for all processes together."""

from typing import NamedTuple

from redis import Redis

from ays_store.scripts import Script


class Taken(NamedTuple):
    """What a bucket has given.

    Attributes:
        granted: requests that may be made now, of those that were wanted.
        left: requests that it still holds.
        full_seconds: time until it is full again.
        wait_seconds: time until it holds one more; 0 when it does.
    """

    granted: int
    left: int
    full_seconds: float
    wait_seconds: float


class Rates:
    """Token buckets in Redis; safe to share between threads."""

    def __init__(self, redis: Redis) -> None:
        self._take = Script(redis, "rates/take")

    def take(self, bucket: str, *, capacity: int, seconds: float, wanted: int = 1) -> Taken:
        """Takes requests from a bucket, as many as are wanted or as there are.

        Args:
            bucket: Its name.
            capacity: Requests that it holds when it is full.
            seconds: Time in which an empty one fills.
            wanted: Requests.
        """
        micros = int(seconds * 1e6 / capacity)
        granted, left, full, wait = self._take(bucket, micros, capacity, wanted)
        return Taken(int(granted), int(left), int(full) / 1e6, int(wait) / 1e6)
