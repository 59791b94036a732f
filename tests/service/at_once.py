"""Many clients that submit at the same moment."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2

HANG_SECONDS = 120
"""Far more than it takes: a deadlock is what this is for."""


def at_once(urls, bodies, headers=None):
    """Sends each body from a client of its own, all at the same moment; the answers in order."""
    barrier = threading.Barrier(len(bodies))

    def post(number):
        sent = {} if headers is None else headers[number]
        with httpx2.Client(base_url=urls[number % len(urls)], timeout=HANG_SECONDS, headers=sent) as client:
            client.get("/healthz")
            barrier.wait(HANG_SECONDS)
            return client.post("/v1/jobs", json=bodies[number])

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(post, range(len(bodies)), timeout=HANG_SECONDS))
