"""Redis clients: an impatient one for those who answer requests, a patient one for those who hold hours of work."""

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError
from redis.retry import Retry


def connect(url: str, *, patient: bool) -> Redis:
    """Returns a client for a Redis URL (`redis://`, `rediss://` or `unix://`); it connects at the first command.

    Args:
        url: Where Redis is.
        patient: True for what a worker must not lose: a command waits until Redis is back, however long that takes. False
            for what somebody waits for: a command fails within about a second.
    """
    backoff = ExponentialWithJitterBackoff(base=0.05, cap=1.0)
    # A pooled connection may have died with an earlier Redis, so a server too tries once more; but not after a silence.
    retry = Retry(backoff, -1) if patient else Retry(backoff, 1, supported_errors=(ConnectionError,))
    return Redis.from_url(
        url,
        retry=retry,
        socket_connect_timeout=2.0 if patient else 0.5,
        socket_timeout=15.0 if patient else 1.0,
        health_check_interval=30,
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
    )
