"""Redis tells of every change, and it is known since when it has not."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

import pytest

from ays_client.contract import Effort, Target, Variant, identity
from ays_store import Store, keys
from ays_store.changes import PING_SECONDS, Changes, keys_of_lookup, keys_of_model
from tests.service.worker import measured, toy


class Recorder:
    """A follower that keeps what it is told."""

    def __init__(self):
        self.names, self.told, self.at = set(), [], None

    def changed(self, names):
        self.names |= set(names)

    def all_changed(self):
        self.told.append("all changed")

    def joined(self):
        self.told.append("joined")

    def certain(self, at):
        self.at = at

    def cut_off(self, *, away):
        self.told.append("away" if away else "refused")


async def until(ready, seconds=20.0):
    async with asyncio.timeout(seconds):
        while not ready():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def following(url):
    recorder = Recorder()
    task = asyncio.create_task(Changes(url).tell(recorder))
    try:
        yield recorder
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def in_a_loop(scenario):
    """In a thread of its own: a browser's tests leave a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, scenario).result()


def test_every_key_that_decides_a_lookup_is_told(redis, redis_url):
    async def scenario():
        async with following(redis_url) as recorder:
            await until(lambda: recorder.told == ["joined"])
            store = Store(redis)
            store.models.publish([toy()], source="host")
            measured(store)
            await until(lambda: recorder.names >= keys_of_lookup(Target(model="toy", nfe=8)))
            assert recorder.names >= keys_of_model("toy") - {keys.curve("toy")}
            assert not {name for name in recorder.names if "job" in name}
            recorder.names.clear()
            measured(store, effort=Effort.MAX)
            await until(lambda: keys.cells(identity(Variant(model="toy"))) in recorder.names)
            assert recorder.told == ["joined"]

    in_a_loop(scenario())


def test_a_curve_that_expires_and_an_emptied_redis_are_told(redis, redis_url):
    async def scenario():
        async with following(redis_url) as recorder:
            await until(lambda: recorder.told == ["joined"])
            redis.set(keys.curve("curve-1"), "x", px=20)
            await until(lambda: keys.curve("curve-1") in recorder.names)
            recorder.names.clear()
            await until(lambda: keys.curve("curve-1") in recorder.names)
            redis.flushall()
            await until(lambda: recorder.told == ["joined", "all changed"])

    in_a_loop(scenario())


def test_it_stays_certain_while_nothing_happens(redis_url):
    async def scenario():
        async with following(redis_url) as recorder:
            await until(lambda: recorder.at is not None)
            first = recorder.at
            await until(lambda: recorder.at > first + 2 * PING_SECONDS)
            assert recorder.at <= time.monotonic()
            assert recorder.told == ["joined"]

    in_a_loop(scenario())


def test_a_killed_connection_is_noticed_and_made_again(redis, redis_url):
    async def scenario():
        async with following(redis_url) as recorder:
            await until(lambda: recorder.told == ["joined"])
            redis.client_kill_filter(_type="normal", skipme=True)
            await until(lambda: recorder.told == ["joined", "away", "joined"])

    in_a_loop(scenario())


def test_who_may_not_be_told_is_told_that(redis, redis_url):
    redis.acl_setuser("deaf", enabled=True, nopass=True, keys="*", commands=["+@all", "-client"])

    async def scenario():
        async with following(f"{redis_url}?username=deaf&password=x") as recorder:
            await until(lambda: recorder.told == ["refused"])
            assert recorder.at is None

    try:
        in_a_loop(scenario())
    finally:
        redis.acl_deluser("deaf")


@pytest.mark.parametrize("method", ["profile", "paper"])
def test_a_lookup_depends_on_the_table_of_its_method(method):
    table = identity(Variant(model="toy")) + (":paper" if method == "paper" else "")
    assert keys.cells(table) in keys_of_lookup(Target(model="toy", nfe=8, method=method))
