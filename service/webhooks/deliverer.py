"""The deliverer: takes messages that are due from Redis and sends them, beside the requests that its process answers.

Every process of the service has one; a message is claimed by one at a time, and one that died with its claim is taken up by another.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from ays_store.webhooks import Delivery, Webhooks
from service.settings import Settings
from service.webhooks.network import Resolver
from service.webhooks.reach import host_of
from service.webhooks.sender import Outcome, Sender

_log = structlog.get_logger("service")

AT_ONCE, PER_HOST = 16, 4
"""Messages that a process has under way at most: of all, and to one host, so that one that is slow leaves room for the others."""

TRY_SECONDS = 15.0
"""Longest time of a try."""

LEASE_SECONDS = 60.0
"""A message whose deliverer has died comes up again after this time."""

_JITTER = 0.2
_POLL_SECONDS, _AWAY_SECONDS, _BUSY_SECONDS = 0.5, 2.0, 1.0
_GRACE_SECONDS = 3.0

Result = TypeVar("Result")


async def deliver_webhooks(settings: Settings, webhooks: Webhooks) -> None:
    """Deliver messages as the configuration says, until canceled.

    Args:
        settings: its secrets, where messages may go, and when they are tried again.
        webhooks: where they wait.
    """
    resolver = Resolver(AT_ONCE)
    sender = Sender(settings.webhook_secret, reach=settings.webhook_reach, resolve=resolver, seconds=TRY_SECONDS)
    try:
        await Deliverer(webhooks, sender, pauses=settings.webhook_retry_seconds).run()
    finally:
        resolver.close()


class Deliverer:
    """Delivers messages; `run` has to be running.

    Args:
        webhooks: where they wait.
        sender: sends them.
        pauses: seconds between one try and the next; a message gets one try more than there are pauses.
        lease_seconds: a message that this process has claimed and not settled comes up again after this time.
    """

    def __init__(self, webhooks: Webhooks, sender: Sender, *, pauses: Sequence[float], lease_seconds: float = LEASE_SECONDS) -> None:
        self._webhooks = webhooks
        self._sender = sender
        self._pauses = list(pauses)
        self._lease_seconds = lease_seconds
        self._under_way: dict[asyncio.Task[None], str] = {}
        self._away = False
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="webhooks")

    async def run(self) -> None:
        """Deliver until canceled; then those under way have a few seconds to arrive, and the others are given back."""
        try:
            while True:
                await self._step()
        finally:
            await self._wind_up()
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _step(self) -> None:
        free = AT_ONCE - len(self._under_way)
        claimed = await self._claim(free) if free else []
        for delivery in claimed:
            host = host_of(delivery.url)
            busy = sum(other == host for other in self._under_way.values()) >= PER_HOST
            work = self._give_back(delivery, seconds=_BUSY_SECONDS) if busy else self._deliver(delivery)
            self._under_way[asyncio.create_task(work)] = "" if busy else host
        if self._under_way and not claimed:
            await asyncio.wait(self._under_way, timeout=_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        elif not claimed:
            await asyncio.sleep(_AWAY_SECONDS if self._away else _POLL_SECONDS)
        self._under_way = {task: host for task, host in self._under_way.items() if not task.done()}

    async def _claim(self, number: int) -> Sequence[Delivery]:
        attempts, lease = len(self._pauses) + 1, self._lease_seconds
        asked = self._in_thread(lambda: self._webhooks.claim(number, lease_seconds=lease, attempts_max=attempts))
        try:
            claimed = await asyncio.shield(asked)
        except asyncio.CancelledError:
            # The thread goes on all the same: what it has claimed must not wait for the end of its lease.
            with suppress(RedisError):
                for delivery in await asked:
                    await self._give_back(delivery, seconds=0)
            raise
        except RedisError as error:
            if not self._away:
                _log.warning("webhooks cannot be read", error=f"{type(error).__name__}: {error}")
            self._away = True
            return []
        self._away = False
        return claimed

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            outcome = await self._sender.send(delivery)
        except asyncio.CancelledError:
            await self._give_back(delivery, seconds=0)
            raise
        except Exception:
            # Its lease runs out, and the tries are counted: it is not tried for ever.
            _log.exception("webhook broke its deliverer", **_about(delivery))
            return
        await self._settle(partial(self._record, delivery, outcome))

    def _record(self, delivery: Delivery, outcome: Outcome) -> None:
        tries_left = len(self._pauses) + 1 - delivery.attempt
        if outcome.delivered:
            self._webhooks.delivered(delivery)
            _log.info("webhook delivered", **_about(delivery))
        elif outcome.hopeless or not tries_left:
            self._webhooks.failed(delivery)
            _log.error("webhook given up", **_about(delivery), cause=outcome.cause)
        else:
            pause = self._pauses[delivery.attempt - 1] * random.uniform(1 - _JITTER, 1 + _JITTER)
            pause = max(pause, outcome.pause)
            self._webhooks.retry(delivery, seconds=pause)
            _log.warning("webhook not delivered", **_about(delivery), cause=outcome.cause, again_in=round(pause, 1))

    async def _give_back(self, delivery: Delivery, *, seconds: float) -> None:
        await self._settle(partial(self._webhooks.give_back, delivery, seconds=seconds))

    async def _settle(self, say: Callable[[], object]) -> None:
        try:
            await self._in_thread(say)
        except RedisError as error:
            # The lease runs out, and the message is sent once more under the same id.
            _log.warning("a webhook's outcome cannot be stored", error=f"{type(error).__name__}: {error}")

    async def _wind_up(self) -> None:
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=_GRACE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._sender.close()

    def _in_thread(self, work: Callable[[], Result]) -> asyncio.Future[Result]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work)


def _about(delivery: Delivery) -> dict[str, object]:
    # Of the URL the host alone: the rest may be what lets somebody in.
    return {"job": delivery.job_id, "message": delivery.message, "host": host_of(delivery.url), "attempt": delivery.attempt}
