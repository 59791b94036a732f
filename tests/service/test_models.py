"""`/v1/models` and `/v1/profiles`."""

from ays_client.contract import Model, ProfileInfo, Variant, identity
from tests.service.worker import measured, profile, toy


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
