"""A store with every kind of key in it, and its damage, one key at a time."""

import inspect
import zlib

from ays_client.contract import Model, Progress, identity
from ays_store import Measurement, Queue, Store, keys
from ays_store.api_keys import Scope
from tests.fuzz.mutate import mutated_json, mutated_packed
from tests.store import bodies
from tests.store.archives import TABLE, fill

KINDS = {
    **{name: value for name, value in vars(keys).items() if name.isupper() and name not in {"PREFIX", "LUA", "CONTRACT_VERSION"}},
    **{name: maker("", "") if name == "jobs_of_in" else maker("") for name, maker in vars(keys).items() if inspect.isfunction(maker)},
}
"""Every kind of key that `ays_store.keys` knows, and how its names begin."""


def fill_all(redis):
    """Fill a store; returns what the routes are asked for."""
    store = Store(redis)
    store.check_schema()
    store.check_writable()
    redis.set(keys.PROBE, 1)
    redis.set(keys.REAPER, 1)
    store.models.publish([Model(id="toy", title="Toy", kind="ve", sigma_min=0.002, sigma_max=80.0)], source="here")
    store.models.publish([Model(id="other", title="Other")], source="there")
    best = fill(store)
    store.models.refine(Model(id="toy", title="Toy", kind="ve", sigma_min=0.002, sigma_max=80.0, fingerprint="f0"))
    running, _ = store.jobs.submit(bodies.request(seed=1))
    token = store.jobs.start(running.id, "w1")
    store.jobs.report(running.id, token, Progress(stage="profile", done=1, total=2))
    store.checkpoints.keep(running.id, token, '{"fingerprint": "f0", "steps": []}')
    queued, _ = store.jobs.submit(bodies.request(seed=2))
    Queue(redis).enqueue(queued.id)
    of = Measurement(identity(bodies.request(seed=1).variant), "f0")
    store.shards.offer(of, "toy", ["0-16", "16-32", "32-48"])
    for _ in range(2):
        store.shards.take(of, running.id, "w1", ["0-16"])
    store.shards.take(of, running.id, "w2", ["16-32"])
    store.shards.keep(of, "0-16", '[{"measure": "flow"}]')
    store.workers.beat("w1", {"host": "here", "pid": 1, "job": running.id})
    store.workers.beat("w2", {})
    redis.persist(keys.worker("w1"))
    redis.persist(keys.worker("w2"))
    store.jobs.died("w9", "was killed")
    store.webhooks.subscribe(running.id, "https://there.example/hook")
    done = store.jobs.list(limit=200)[0][-1]
    store.webhooks.subscribe(done.id, "https://there.example/hook")
    key, secret = store.api_keys.create("fuzz", Scope.ADMIN)
    store.api_keys.get(key.id)
    store.rates.take("read:fuzz", capacity=100, seconds=60)
    return {"best": best, "running": running, "queued": queued, "done": done, "table": TABLE, "key": key, "secret": secret}


def kind_of(name):
    """The kind of a key: the one whose names begin alike, the longest."""
    exact = [kind for kind, begin in KINDS.items() if name == begin]
    if exact:
        return exact[0]
    if name.startswith(keys.jobs_of("")):
        return "jobs_of_in" if name.count(":") > 4 else "jobs_of"
    return max((kind for kind, begin in KINDS.items() if begin[-1] in ":/" and name.startswith(begin)), key=lambda kind: len(KINDS[kind]))


class Stored:
    """All keys of a Redis, to be put back after each damage."""

    def __init__(self, redis):
        self._redis = redis
        names = sorted(raw.decode() for raw in redis.scan_iter("*"))
        self._dumps = {name: redis.dump(name) for name in names}
        self.by_kind = {}
        for name in names:
            if name.startswith("ays:"):
                self.by_kind.setdefault(kind_of(name), []).append(name)

    def restore(self):
        with self._redis.pipeline() as pipeline:
            pipeline.flushall()
            for name, dump in self._dumps.items():
                pipeline.restore(name, 0, dump)
            pipeline.execute()

    def damage(self, rng, name):
        """Damage a key; returns what was done to it, in words."""
        redis, kind = self._redis, self._redis.type(name).decode()
        if rng.random() < 0.15:
            return self._retype(rng, name, kind)
        match kind:
            case "string":
                raw = redis.get(name)
                value = mutated_packed(rng, raw) if _packed(raw) else mutated_json(rng, raw)
                redis.set(name, value)
                return f"{name} = {value[:80]!r}"
            case "hash":
                return self._damage_hash(rng, name)
            case "zset":
                member = rng.choice([rng.randbytes(5), b"x", redis.zrange(name, 0, 0)[0]])
                score = rng.choice(["inf", "-inf", 0, -5.5, 1e300])
                redis.zadd(name, {member: score})
                return f"{name} has {member!r} at {score}"
            case "set":
                member = rng.choice([rng.randbytes(5), b"", b"file:///etc/passwd", b"x" * 5000])
                redis.sadd(name, member)
                return f"{name} has {member[:80]!r}"
        fields = [fields for _, fields in redis.xrange(name)][-1:] or [{}]
        entry = {field: mutated_json(rng, value) for field, value in fields[0].items() if rng.random() < 0.8}
        redis.xadd(name, entry or {b"\xff": b"\xff"})
        return f"{name} has {str(entry)[:80]}"

    def _damage_hash(self, rng, name):
        redis = self._redis
        field, raw = rng.choice(sorted(redis.hgetall(name).items()))
        match rng.randrange(6):
            case 0:
                redis.hdel(name, field)
                return f"{name} lost {field!r}"
            case 1:
                redis.hset(name, rng.choice([b"\xff\xfe", b"", b"a:b:c", field + b"x"]), raw)
                return f"{name} has a strange field"
        value = mutated_packed(rng, raw) if _packed(raw) else mutated_json(rng, raw)
        redis.hset(name, field, value)
        return f"{name} [{field!r}] = {value[:80]!r}"

    def _retype(self, rng, name, kind):
        redis = self._redis
        redis.delete(name)
        other = rng.choice([each for each in ("string", "list", "set", "hash", "zset") if each != kind])
        match other:
            case "string":
                redis.set(name, b"\xffx")
            case "list":
                redis.rpush(name, "x")
            case "set":
                redis.sadd(name, "x")
            case "hash":
                redis.hset(name, "x", "y")
            case "zset":
                redis.zadd(name, {"x": 1})
        return f"{name} is a {other}"


def _packed(raw):
    try:
        zlib.decompress(raw)
    except zlib.error:
        return False
    return True
