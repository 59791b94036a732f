"""`/v1/models` and `/v1/profiles`."""

from ays_client.contract import Model, ProfileInfo, Schedule, Variant, identity
from ays_client.pages import Row
from ays_client.samples import SampleGrid
from tests.service.worker import measured, profile, request, schedule, toy, work


def test_models_say_how_far_they_are_measured(http, store):
    store.models.publish([toy(), toy(id="another")], source="host")
    before = {model["id"]: model for model in http.get("/v1/models").json()["models"]}
    assert list(before)[:2] == ["another", "toy"]
    assert before["toy"]["profile_state"] == "none"
    measured(store, table=(8, 9, 10))
    after = Model.model_validate_json(http.get("/v1/models/toy").content)
    assert (after.profile_state, after.schedules) == ("ready", 3)
    assert after.profile_id == identity(Variant(model="toy"))


def test_a_profile_is_served_with_a_tag(http, store):
    measured(store)
    expected = profile(Variant(model="toy"))
    answer = http.get(f"/v1/profiles/{expected.id}")
    assert ProfileInfo.model_validate_json(answer.content) == expected
    again = http.get(f"/v1/profiles/{expected.id}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_one_measure_of_a_profile_can_be_had_alone(http, store):
    measured(store)
    expected = profile(Variant(model="toy"))
    answer = http.get(f"/v1/profiles/{expected.id}?measure=flow")
    assert ProfileInfo.model_validate_json(answer.content) == expected.model_copy(update={"standard_errors": {}})
    assert http.get(f"/v1/profiles/{expected.id}?measure=sideways").status_code == 422


def test_workers_are_counted_beside_the_models(http, store):
    assert http.get("/v1/models").json()["live_workers"] == 0
    store.workers.beat("w1", {})
    assert http.get("/v1/models").json()["live_workers"] == 1


def test_a_row_of_the_table_is_served_in_short(http, store):
    measured(store, table=(12, 9, 30))
    profile_id = identity(Variant(model="toy"))
    answer = http.get(f"/v1/profiles/{profile_id}/schedules?solver=dpmpp_2m")
    row = Row.model_validate_json(answer.content)
    assert [cell.nfe for cell in row.cells] == [8, 9, 12, 30]
    for cell in row.cells:
        stored = Schedule.model_validate_json(http.get(f"/v1/schedules/{cell.schedule_id}").content)
        assert (cell.sigmas, cell.validated, cell.detail) == (stored.sigmas, stored.validated, stored.provenance.detail)
    assert [cell.nfe for cell in row.cells if cell.validated] == [8]
    again = {"If-None-Match": answer.headers["etag"]}
    assert http.get(f"/v1/profiles/{profile_id}/schedules", headers=again).status_code == 304
    empty = http.get(f"/v1/profiles/{profile_id}/schedules?solver=ddim&terminal=sigma_min")
    assert empty.json()["cells"] == []
    missing = http.get("/v1/profiles/nope/schedules")
    assert (missing.status_code, missing.json()["detail"]) == (404, "there is no such profile")


def grid(schedule_id):
    errors = {"stock": 0.3, "ours": 0.1}
    shape = {"noises": 8, "height": 8, "width": 8, "evaluations": 640}
    return SampleGrid(schedule_id=schedule_id, rows=["stock", "ours", "fine"], stock="edm", errors=errors, image="data:,", **shape)


def test_samples_are_served_where_they_were_drawn(http, store):
    asked = request()
    store.jobs.submit(asked)
    token = work(store, asked)
    wanted = schedule(validated=True)
    drawn = grid(wanted.id)
    table = [schedule(nfe=9), wanted]
    assert store.results.commit(
        identity(asked), token, profile=profile(asked.variant), schedules=table, requested_schedule_id=wanted.id, samples=drawn
    )
    answer = http.get(f"/v1/schedules/{wanted.id}/samples")
    assert SampleGrid.model_validate_json(answer.content) == drawn
    assert "immutable" in answer.headers["cache-control"]
    row = http.get(f"/v1/profiles/{identity(asked.variant)}/schedules").json()
    assert {cell["nfe"]: cell["samples"] for cell in row["cells"]} == {8: True, 9: False}
    missing = http.get(f"/v1/schedules/{table[0].id}/samples")
    assert (missing.status_code, missing.json()["detail"]) == (404, "no samples were drawn with this schedule")
