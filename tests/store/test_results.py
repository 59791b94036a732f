import pytest
from redis.exceptions import ResponseError

from ays_client.contract import NFE_MAX, NFE_MIN, Effort, JobState, Model, Solver, Terminal, Variant, identity
from ays_store import DamagedError, Measurement, keys
from ays_store.bodies import pack
from tests.store.bodies import profile, request, schedule, validated

CELL = {"solver": Solver.DPMPP_2M, "terminal": Terminal.ZERO, "nfe": 4}
TOY = identity(Variant(model="toy"))


def commit(store, wanted, *, schedules=None, profile=None, **fields):
    job, created = store.jobs.submit(request(**fields))
    assert created
    token = store.jobs.start(job.id, "w1")
    schedules = [wanted] if schedules is None else schedules
    assert store.results.commit(job.id, token, profile=profile, schedules=schedules, requested_schedule_id=wanted.id)
    return job.id, token


def test_a_whole_table_appears_at_once(store):
    table = [
        schedule(nfe=nfe, solver=solver, terminal=terminal)
        for nfe in range(NFE_MIN, NFE_MAX + 1)
        for solver in Solver
        for terminal in Terminal
    ]
    measured = Measurement(TOY, "f0")
    store.shards.offer(measured, "toy", ["0-8"])
    assert store.shards.keep(measured, "0-8", '{"paths": 8}')
    wanted = validated()
    job_id, token = commit(store, wanted, schedules=[*table, wanted], profile=profile())
    job = store.jobs.get(job_id)
    assert (job.state, job.schedule_id, job.schedule_url) == (JobState.SUCCEEDED, wanted.id, f"/v1/schedules/{wanted.id}")
    assert len(store.results.cells(TOY)) == len(table) == len(Solver) * 2 * 63
    assert store.results.cell(TOY, **CELL) == (wanted.id, 2)
    assert store.results.profile(TOY) == profile()
    assert store.shards.read(measured, ["0-8"]) == {}
    assert store.results.schedule(wanted.id) == wanted.model_dump_json().encode()
    last = store.jobs.events.read({job_id: "0"})[job_id][-1].event
    assert (last.state, last.schedule_url) == (JobState.SUCCEEDED, job.schedule_url)
    again = {"profile": profile(), "schedules": [wanted], "requested_schedule_id": wanted.id}
    assert store.results.commit(job_id, token, **again), "a repeated call, whose answer was lost, finds it done"
    assert not store.results.commit(job_id, token + 1, **again)
    assert not store.results.commit("0" * 32, 1, **again)


def test_an_alias_moves_on_by_effort_only(store):
    first = schedule()
    commit(store, first, profile=profile(), nfe=2)
    assert store.results.cell(TOY, **CELL) == (first.id, 0)
    for nfe, better, kept in [
        (3, validated(effort=Effort.FAST, validated=False), None),
        (4, validated(), None),
        (5, validated(effort=Effort.FAST, mark="later"), "before"),
        (6, schedule(effort=Effort.STANDARD), "before"),
        (7, validated(mark="equal effort"), None),
        (8, validated(effort=Effort.MAX), None),
        (9, validated(mark="standard again"), "before"),
    ]:
        before = store.results.cell(TOY, **CELL)
        commit(store, better, nfe=nfe)
        assert (store.results.cell(TOY, **CELL) == before) == (kept == "before"), better.provenance
        assert store.results.schedule(better.id) is not None


def test_a_chosen_detail_leaves_the_alias_alone(store):
    table, own = schedule(), validated(effort=Effort.MAX)
    commit(store, own, schedules=[table, own], profile=profile(), detail=2.0)
    assert store.results.cell(TOY, **CELL) == (table.id, 0)


def test_a_commit_links_what_is_stored(store):
    stored = validated()
    commit(store, stored, profile=profile())
    job_id, _ = commit(store, stored, schedules=[], effort=Effort.FAST)
    assert store.jobs.get(job_id).schedule_id == stored.id


def test_a_commit_without_its_schedule_is_refused_whole(store):
    job, _ = store.jobs.submit(request())
    token = store.jobs.start(job.id, "w1")
    with pytest.raises(ResponseError, match="received the requested schedule nowhere, expected one that is given or stored"):
        store.results.commit(job.id, token, profile=profile(), schedules=[schedule()], requested_schedule_id="nowhere")
    assert store.results.profile(TOY) is None
    assert store.results.cells(TOY) == {}
    assert store.jobs.get(job.id).state is JobState.RUNNING


def test_the_default_variant_comes_first(store):
    variants = [Variant(model="toy", paths=8), Variant(model="toy"), Variant(model="toy", paths=32)]
    for age, variant in enumerate(variants):
        commit(store, schedule(), profile=profile(variant, created_at=age), nfe=age + 2, paths=variant.paths)
    found = store.results.variants("toy")
    assert [measured.variant.paths for measured in found] == ["auto", 32, 8]
    assert found[0].profile_id == TOY
    assert store.results.variants("other") == []


def test_a_stored_answer_is_found_by_effort(store):
    wanted = validated()
    assert store.results.find(request()) is None
    commit(store, wanted, profile=profile())
    assert store.results.find(request(effort=Effort.FAST)) == wanted.id
    assert store.results.find(request(effort=Effort.STANDARD)) == wanted.id
    assert store.results.find(request(effort=Effort.MAX)) is None
    assert store.results.find(request(detail=1.0)) is None
    assert store.results.find(request(seed=1)) is None
    assert store.results.find(request(nfe=5)) is None


def test_fast_takes_what_was_guarded_and_a_lookup_any_schedule_of_the_table(store):
    copied, guarded = schedule(effort=None), schedule(nfe=5, effort=Effort.FAST)
    commit(store, copied, schedules=[copied, guarded], profile=profile())
    assert store.results.find(request()) is None
    assert store.results.find(request(effort=Effort.FAST)) is None
    assert store.results.find(request(), any_effort=True) == store.results.answer(request(), any_effort=True) == copied.id
    assert store.results.find(request(nfe=5)) is None
    assert store.results.find(request(nfe=5, effort=Effort.FAST)) == guarded.id


def test_an_answer_of_other_weights_is_replaced(store):
    store.models.publish([Model(id="toy", title="Toy", fingerprint="f0")], source="host")
    old, new = validated(), validated(fingerprint="f1")
    commit(store, old, profile=profile())
    assert store.jobs.answer(request(), new.id).schedule_id == old.id
    store.models.refine(Model(id="toy", title="Toy", fingerprint="f1"))
    job = store.jobs.answer(request(), new.id)
    assert (job.state, job.schedule_id) == (JobState.SUCCEEDED, new.id)


def test_other_weights_make_results_stale(store):
    old = validated()
    job_id, _ = commit(store, old, profile=profile())
    store.models.publish([Model(id="toy", title="Toy", fingerprint="f0")], source="host")
    assert store.results.find(request()) == old.id
    store.models.refine(Model(id="toy", title="Toy", fingerprint="f1"))
    assert store.results.find(request()) is None
    assert store.results.variants("toy") == []
    assert store.results.schedule(old.id) is not None, "a link to a schedule stays good"
    new = schedule(fingerprint="f1")
    again, _ = commit(store, new, profile=profile(fingerprint="f1"))
    assert again == job_id
    assert store.results.cell(TOY, **CELL) == (new.id, 0), "the lower effort wins, the other is of other weights"


def test_nothing_stored_is_none(store):
    assert store.results.profile(TOY) is None
    assert store.results.profile_json(TOY) is None
    assert store.results.schedule("0" * 32) is None
    assert store.results.cell(TOY, **CELL) is None


def test_each_method_has_a_table_of_its_own(store):
    ours = validated()
    commit(store, ours, profile=profile())
    assert store.results.find(request(method="paper")) is None
    paper = validated(mark="paper")
    commit(store, paper, method="paper")
    assert store.results.find(request()) == ours.id
    assert store.results.find(request(method="paper")) == paper.id
    assert [measured.profile_id for measured in store.results.variants("toy")] == [TOY], "it has no profile"
    assert store.results.cells(TOY).keys() == store.results.cells(f"{TOY}:paper").keys()


def test_the_table_of_other_weights_is_dropped_without_a_profile_too(store):
    commit(store, validated(), method="paper", nfe=3)
    other = validated(nfe=7, fingerprint="f1")
    commit(store, other, method="paper", nfe=5)
    assert [cell.schedule_id for cell in store.results.cells(f"{TOY}:paper").values()] == [other.id]


def test_chosen_options_answer_their_own_request_alone(store):
    fields = {"method": "paper", "paper": {"samples": 64}}
    wanted = validated()
    job_id, _ = commit(store, wanted, **fields)
    assert store.jobs.get(job_id).schedule_id == wanted.id
    assert store.results.cells(f"{TOY}:paper") == {}
    assert store.results.find(request(method="paper")) is None
    assert store.results.find(request(**fields)) is None


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("ays:2:variants:toy", TOY),
        (f"ays:2:cells:{TOY}", "dpmpp_2m:zero:4"),
        ("ays:2:variants:toy", None),
        (f"ays:2:cells:{TOY}", None),
    ],
)
def test_what_was_damaged_is_whole_again_after_a_commit(store, redis, key, field):
    wanted = schedule(effort=Effort.FAST)
    commit(store, wanted, profile=profile(), effort="fast")
    if field is None:
        redis.delete(key)
        redis.set(key, "x")
    else:
        redis.hset(key, field, b"\xff")
    with pytest.raises(DamagedError, match=key):
        store.results.find(request(effort="fast"))
    assert store.results.answer(request(effort="fast")) is None
    commit(store, wanted, nfe=5, effort="fast")
    assert store.results.find(request(effort="fast")) == wanted.id


def test_a_schedule_that_was_changed_in_redis_is_not_served_under_its_address(store, redis):
    wanted = schedule()
    redis.set(keys.schedule(wanted.id), pack(wanted.model_dump_json()))
    assert store.results.served(wanted.id)
    for change in ({"sigma_max": 79.0}, {"formats": {"json": "https://elsewhere.example/"}}):
        changed = wanted.model_copy(update=change)
        redis.set(keys.schedule(wanted.id), pack(changed.model_dump_json()))
        with pytest.raises(DamagedError, match=r"address|links"):
            store.results.schedule(wanted.id)
