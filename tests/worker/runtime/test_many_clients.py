"""64 clients at once on two services and a real worker: no job twice, no profile twice, no deadlock."""

from ays_store import Store, keys
from tests.cli.conftest import MODELS
from tests.service.at_once import HANG_SECONDS, at_once
from tests.service.server import Server
from tests.store.waiting import until
from tests.worker.conftest import Process

CLIENTS = 64


def test_64_clients_on_two_services_and_a_worker(redis_url, redis, tmp_path):
    """The same requests are one job each, the different ones share one profile, and all of them end."""
    models, store = tmp_path / "models.toml", Store(redis)
    models.write_text(MODELS)
    # Four requests of one profile, each by sixteen clients.
    cells = [(solver, nfe) for solver in ("ddim", "dpmpp_2m") for nfe in (4, 7)]
    bodies = [{"model": "small", "solver": solver, "nfe": nfe, "effort": "fast", "paths": 32, "grid": 16} for solver, nfe in cells]
    for number, each in enumerate(bodies):
        each["detail"] = 1.0 + number / 10
    variables = {"AYS_MODELS": str(models), "AYS_THREADS": "1", "AYS_LOG_LEVEL": "debug"}
    worker = Process(redis_url, tmp_path, 0, "tests.worker.small", variables)
    try:
        with Server(redis_url, tmp_path / "log1") as first, Server(redis_url, tmp_path / "log2") as second:
            until(store.workers.live, seconds=HANG_SECONDS, what="a live worker")
            answers = at_once((first.url, second.url), CLIENTS // len(bodies) * bodies)
            assert {answer.status_code for answer in answers} == {202}
            ids = {answer.json()["id"] for answer in answers}
            assert len(ids) == len(bodies)
            until(lambda: all(store.jobs.get(each).state.final for each in ids), seconds=HANG_SECONDS, what="the end of all jobs")
        jobs = [store.jobs.get(each) for each in ids]
        assert {(job.state, job.attempts) for job in jobs} == {("succeeded", 1)}
        assert len(store.jobs.list(limit=200)[0]) == len(bodies)
        assert redis.hmget(keys.COUNTERS, "submitted", "runs") == 2 * [str(len(bodies)).encode()]
        assert len(list(redis.scan_iter(keys.profile("*")))) == 1
        kept = [(entry["profile"], entry["shard"]) for entry in worker.said("shard kept")]
        assert len(kept) == len(set(kept)) > 0
        assert not worker.said("shard measured in vain")
        assert worker.end() == 0
    finally:
        if worker.popen.poll() is None:
            worker.kill()
