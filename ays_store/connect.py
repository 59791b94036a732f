"""Redis clients: an impatient one for those who answer requests, a patient one for those who hold hours of work."""

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry


def connect(url: str, *, patient: bool) -> Redis:
    """Returns a client for a Redis URL (`redis://`, `rediss://` or `unix://`); it connects at the first command.

    Args:
        url: Where Redis is.
        patient: True for a worker: a command waits for minutes until Redis is back, since giving up throws away what was
            computed. False for a server: a command fails within seconds, since somebody waits for the answer.
    """
    retries = 60 if patient else 1
    return Redis.from_url(
        url,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=5.0), retries),
        socket_connect_timeout=2.0 if patient else 0.5,
        socket_timeout=15.0 if patient else 2.0,
        socket_keepalive=True if not url.startswith("unix:") else None,
        health_check_interval=30,
    )
