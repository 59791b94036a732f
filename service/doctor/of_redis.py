"""Redis: whether it is there, keeps what it is given, and lets us do what we have to; and the workers that it knows."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from redis.exceptions import NoPermissionError, RedisError

from ays_client.version import VERSION
from ays_process.finding import Finding, fail, ok, warn
from ays_process.logs import without_passwords
from ays_store import Store

_OLDEST = (6, 2)
_SKEW_SECONDS = 5.0
_FULL = 0.8


def redis_findings(url: str) -> Iterator[Finding]:
    """Look at a Redis, and at the workers that have told it of themselves.

    Args:
        url: its URL.
    """
    store = Store.open(url)
    try:
        yield from _findings(store)
    except NoPermissionError as error:
        yield fail("redis", f"it refuses us a command: {error}", "give this user the rights of docs/operating.md, Keys and security")
    except RedisError as error:
        seen = without_passwords(f"{type(error).__name__}: {error}")
        yield fail("redis", f"it does not answer: {seen}", "start it, or correct AYS_REDIS_URL")
    finally:
        store.close()


def _findings(store: Store) -> Iterator[Finding]:
    redis: Any = store.redis
    start = time.monotonic()
    store.ping()
    milliseconds = (time.monotonic() - start) * 1e3
    info: Mapping[str, Any] = redis.info()
    yield _version(info, milliseconds)
    yield from _role(info)
    yield _persistence(info)
    yield _memory(info)
    yield _user(redis)
    yield _clock(redis)
    stats = store.census.take()
    yield from _workers(store)
    oldest = max(stats.oldest_seconds.values())
    if oldest > 0 and not stats.workers:
        yield warn("queue", f"a job has waited for {oldest:.0f} s", "start a worker")


def _version(info: Mapping[str, Any], milliseconds: float) -> Finding:
    version = str(info["redis_version"])
    name = f"{info.get('server_name', 'redis')} {info.get('valkey_version', version)}"
    seen = f"{name} answers in {milliseconds:.1f} ms"
    old = tuple(int(part) for part in version.split(".")[:2]) < _OLDEST
    return fail("redis", seen, "install version 6.2 or newer") if old else ok("redis", seen)


def _role(info: Mapping[str, Any]) -> Iterator[Finding]:
    if info.get("role") != "master":
        yield fail("redis", "it is a replica, which takes no writes", "name the primary in AYS_REDIS_URL")
    if info.get("cluster_enabled"):
        yield fail("redis", "it is a node of a cluster; the scripts need all keys on one node", "use one without cluster mode")


def _persistence(info: Mapping[str, Any]) -> Finding:
    if not info["aof_enabled"]:
        seen = "appendonly is off: what was written since the last snapshot is lost with the process"
        return warn("persistence", seen, "start Redis with --appendonly yes --appendfsync always")
    if info.get("aof_last_write_status") != "ok":
        return fail("persistence", "the last write of the append-only file failed", "free the disk of Redis; its log has the reason")
    return ok("persistence", "the append-only file is written")


def _memory(info: Mapping[str, Any]) -> Finding:
    policy, used, limit = info["maxmemory_policy"], info["used_memory"], info["maxmemory"]
    seen = f"{used / 2**20:.0f} MiB used of {f'{limit / 2**20:.0f} MiB' if limit else 'all there is'}, {policy}"
    if policy != "noeviction":
        return fail("memory", seen, "set maxmemory-policy noeviction: an evicted key is a lost job")
    if limit and used > _FULL * limit:
        return warn("memory", seen, "raise maxmemory: a full Redis takes no jobs")
    return ok("memory", seen)


def _user(redis: Any) -> Finding:
    try:
        user = redis.acl_whoami()
    except NoPermissionError:
        return ok("user", "a user of its own")
    name = user.decode() if isinstance(user, bytes) else str(user)
    if name != "default":
        return ok("user", f"the user {name!r}")
    seen = "the default user, who may do everything"
    if redis.connection_pool.connection_kwargs.get("path"):
        return ok("user", f"{seen}, on a socket")
    return warn("user", seen, "give service and workers users of their own: docs/operating.md")


def _clock(redis: Any) -> Finding:
    seconds, micros = redis.time()
    skew = time.time() - seconds - micros / 1e6
    seen = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} that of Redis"
    if abs(skew) > _SKEW_SECONDS:
        return warn("clock", seen, "synchronize the clocks; the times in logs differ, jobs do not mind")
    return ok("clock", seen)


def _workers(store: Store) -> Iterator[Finding]:
    live = store.workers.live()
    if not live:
        yield fail("workers", "none is alive", "start one: `ays worker`; if one runs, its log says why it does not reach Redis")
        return
    devices = ", ".join(sorted({str(worker.info.get("device", "unknown")) for worker in live}))
    yield ok("workers", f"{len(live)} alive, on {devices}")
    others = sorted({str(worker.info.get("version", "unknown")) for worker in live} - {VERSION})
    if others:
        yield warn(
            "versions", f"workers of version {', '.join(others)}, this is {VERSION}", "finish the upgrade: the same version everywhere"
        )
    else:
        yield ok("versions", f"{VERSION} here and on every worker")
