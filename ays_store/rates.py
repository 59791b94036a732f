"""Rates: how many requests somebody may make in a time, counted in Redis for all processes together."""

from typing import NamedTuple

from redis import Redis

from ays_store.scripts import Script

_TAKE = """
-- ARGV: bucket, interval (microseconds from one request to the next at the rate), capacity, wanted
-- The generic cell rate algorithm (ITU-T I.371): all that is kept is when the bucket will be full again.
local key, interval, capacity = key_rate(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local t = now()
local stored = redis.pcall('GET', key)
local full = math.min(math.max(number(type(stored) == 'string' and stored, 0), t), t + interval * capacity)
local left = math.floor((t + interval * capacity - full) / interval)
local granted = math.max(0, math.min(tonumber(ARGV[4]), left))
if granted > 0 then
  full = full + granted * interval
  redis.call('SET', key, int(full), 'PX', int(math.ceil((full - t) / 1000)))
end
return { granted, math.max(0, left - granted), int(full - t), int(math.max(0, full + interval - t - interval * capacity)) }
"""


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
        self._take = Script(redis, _TAKE)

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
