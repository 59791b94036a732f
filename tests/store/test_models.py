from ays_client.contract import Model
from tests.store.bodies import profile, request, schedule
from tests.store.waiting import until


def ids(store):
    return [model.id for model in store.models.page().models]


def test_a_source_replaces_its_own_models_only(store):
    store.models.publish([Model(id="b", title="B"), Model(id="a", title="A")], source="one")
    store.models.publish([Model(id="c", title="C")], source="two")
    assert ids(store) == ["a", "b", "c"]
    store.models.publish([Model(id="a", title="A, improved")], source="one")
    assert ids(store) == ["a", "c"]
    assert store.models.get("a").title == "A, improved"
    assert store.models.get("b") is None


def test_a_model_is_refined_while_it_is_offered(store):
    store.models.publish([Model(id="a", title="A")], source="one")
    store.models.refine(Model(id="a", title="A", kind="vp", fingerprint="f0"))
    store.models.refine(Model(id="gone", title="Gone"))
    assert (store.models.get("a").kind, ids(store)) == ("vp", ["a"])


def test_the_profile_state_follows_the_jobs(store):
    store.models.publish([Model(id="toy", title="Toy")], source="one")
    assert store.models.get("toy").profile_state == "none"
    job, _ = store.jobs.submit(request())
    token = store.jobs.start(job.id, "w1")
    assert store.models.get("toy").profile_state == "measuring"
    wanted = schedule()
    store.results.commit(job.id, token, profile=profile(), schedules=[wanted, schedule(nfe=5)], requested_schedule_id=wanted.id)
    model = store.models.get("toy")
    assert (model.profile_state, model.profile_id, model.schedules) == ("ready", profile().id, 2)


def test_workers_are_live_while_they_beat(store, redis):
    store.workers.beat("w1", {"host": "a", "pid": 7, "job": None})
    store.workers.beat("w2", {})
    first, second = store.workers.live()
    assert (first.name, first.info, second.name) == ("w1", {"host": "a", "pid": 7, "job": None}, "w2")
    assert 0 <= second.silent_seconds <= first.silent_seconds < 5
    assert store.jobs.submit(request())[0].live_workers == 2
    store.workers.leave("w1")
    assert [worker.name for worker in store.workers.live()] == ["w2"]
    redis.zincrby("ays:2:workers", -11e6, "w2")
    assert store.workers.live() == []
    assert store.jobs.submit(request())[0].live_workers == 0
    redis.zincrby("ays:2:workers", -100e6, "w2")
    store.workers.beat("w3", {})
    assert until(lambda: redis.zcard("ays:2:workers")) == 1
