"""The store: everything that service and worker know in common."""

from typing import Any

from redis import Redis

from ays_store import keys
from ays_store.api_keys import ApiKeys
from ays_store.archive import Exporter, Importer
from ays_store.checkpoints import Checkpoints
from ays_store.connect import connect
from ays_store.jobs import Jobs
from ays_store.limits import LEASE_SECONDS
from ays_store.models import Models
from ays_store.rates import Rates
from ays_store.redis_settings import Mistake, mistakes_in
from ays_store.results import Results
from ays_store.retention import Retention
from ays_store.schema import check_schema
from ays_store.shards import Shards
from ays_store.stats import Census
from ays_store.webhooks import Webhooks
from ays_store.workers import Workers


class Store:
    """Records, results, models, workers and API keys in one Redis; safe to share between threads."""

    def __init__(self, redis: Redis, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self.redis = redis
        self.jobs = Jobs(redis, lease_seconds=lease_seconds)
        self.results = Results(redis)
        self.shards = Shards(redis, lease_seconds=lease_seconds)
        self.checkpoints = Checkpoints(redis)
        self.models = Models(redis, self.results)
        self.workers = Workers(redis)
        self.census = Census(redis)
        self.api_keys = ApiKeys(redis)
        self.rates = Rates(redis)
        self.retention = Retention(redis)
        self.webhooks = Webhooks(redis)
        self.exporter = Exporter(redis)
        self.importer = Importer(redis, self.results)

    @classmethod
    def open(cls, url: str, *, patient: bool = False, lease_seconds: float = LEASE_SECONDS) -> "Store":
        """Returns a store at a Redis URL; see `connect`."""
        return cls(connect(url, patient=patient), lease_seconds=lease_seconds)

    def ping(self) -> None:
        """Asks Redis whether it is there.

        Raises:
            redis.RedisError: If it is not.
        """
        redis: Any = self.redis
        redis.ping()

    def check_schema(self) -> None:
        """Asks whether the stored data is of a version that this program reads.

        Raises:
            SchemaError: it is not.
            redis.RedisError: If Redis does not answer.
        """
        check_schema(self.redis)

    def redis_mistakes(self) -> list[Mistake]:
        """Asks Redis for settings that lose what was accepted, or under which nothing works.

        Raises:
            redis.RedisError: If it does not answer.
        """
        redis: Any = self.redis
        return mistakes_in(redis.info())

    def check_writable(self) -> None:
        """Asks Redis to take something, as a job would.

        Raises:
            redis.ResponseError: If it refuses: it is full, its disk is, or it is a replica.
            redis.RedisError: If it does not answer.
        """
        redis: Any = self.redis
        redis.set(keys.PROBE, "1", px=1000)

    def close(self) -> None:
        """Closes the connections."""
        self.redis.close()
