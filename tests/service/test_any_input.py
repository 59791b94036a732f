"""Whatever is sent, the answer is one that the API declares, in JSON that every reader takes."""

import json

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ays_client.contract import JobRequest
from ays_store import Store
from tests.service.worker import body, toy

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["toy", "ddim", "auto", "zero"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from([*JobRequest.model_fields, "webhook", ""])
BODIES = st.dictionaries(FIELDS, VALUES, max_size=5).map(lambda changes: body() | changes) | VALUES
PARTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)

QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)


@pytest.fixture(autouse=True)
def _model(redis):
    Store(redis).models.publish([toy()], source="host")


def check(answer, statuses):
    assert answer.status_code in statuses, answer.text
    content = json.loads(answer.content.decode(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"title", "status", "detail"} <= set(content)


@QUIET
@given(sent=BODIES)
def test_any_body(http, sent):
    answer = http.post("/v1/jobs", content=json.dumps(sent), headers={"content-type": "application/json"})
    check(answer, {202, 400, 404, 422})


@QUIET
@given(sent=st.binary(max_size=200))
def test_any_bytes(http, sent):
    check(http.post("/v1/jobs", content=sent, headers={"content-type": "application/json"}), {400, 422})


@QUIET
@given(name=FIELDS.filter(bool) | st.sampled_from(["fallback", "format"]), value=PARTS)
def test_any_query(http, name, value):
    check(http.get("/v1/schedules", params={"model": "toy", "nfe": "8"} | {name: value}), {404, 422})
    check(http.get("/v1/jobs", params={name: value}), {200, 422})


@QUIET
@given(part=PARTS)
def test_any_path(http, part):
    for path in ("/v1/jobs", "/v1/schedules", "/v1/models", "/v1/profiles"):
        url = httpx2.URL(http.base_url, raw_path=f"{path}/{''.join(f'%{byte:02x}' for byte in part.encode())}".encode())
        check(http.get(url), {200, 404})
