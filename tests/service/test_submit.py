"""`POST /v1/jobs`."""

import subprocess
import sys

import pytest

from ays_client.contract import Effort, Job, JobState, Variant, identity
from tests.service.server import ROOT, Server
from tests.service.worker import body, finish, measured, request, toy, work

SUBMIT = """
import sys
from ays_client import Client
with Client(sys.argv[1]) as client:
    client.models()
    print("ready", flush=True)
    sys.stdin.readline()
    for nfe in range(2, 22):
        print(client.submit({"model": "toy", "nfe": nfe}).id)
"""


def submit(http, expect=202, **fields):
    answer = http.post("/v1/jobs", json=body(**fields))
    assert answer.status_code == expect, answer.text
    return answer


def test_a_job_is_queued_with_its_place_and_when_to_ask(http, store, queue):
    answer = submit(http)
    job = Job.model_validate_json(answer.content)
    assert (job.state, job.request, job.id) == (JobState.QUEUED, request(), identity(request()))
    assert answer.headers["location"] == f"/v1/jobs/{job.id}"
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["cache-control"] == "no-store"
    assert job.live_workers == 0
    assert len(queue) == 1
    assert store.jobs.get(job.id) == job


@pytest.mark.usefixtures("store")
def test_the_same_request_is_the_same_job_however_it_is_written(http, queue):
    first = submit(http).json()["id"]
    assert submit(http, solver="dpmpp_2m", terminal="zero", detail="auto", grid=64).json()["id"] == first
    assert (
        http.post("/v1/jobs", content='{"nfe": 8.0,\n "model": "toy"}', headers={"content-type": "application/json"}).json()["id"] == first
    )
    assert submit(http, nfe=9).json()["id"] != first
    assert len(queue) == 2


def test_two_processes_and_two_servers_make_one_job_of_a_request(server, redis_url, store, queue, tmp_path):
    with Server(redis_url, tmp_path / "log") as second:
        command = [sys.executable, "-c", SUBMIT]
        clients = [
            subprocess.Popen([*command, url], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for url in (server.url, second.url)
        ]
        for client in clients:
            assert client.stdout.readline() == "ready\n"
        for client in clients:
            client.stdin.write("go\n")
            client.stdin.flush()
        answers = [client.communicate(timeout=30)[0].split() for client in clients]
    assert [client.returncode for client in clients] == [0, 0]
    assert answers[0] == answers[1]
    assert len(set(answers[0])) == len(queue) == len(store.jobs.list(limit=100)[0]) == 20


@pytest.mark.usefixtures("queue")
def test_a_finished_job_comes_back_with_its_schedule(http, store):
    submit(http)
    wanted = finish(store, request(), work(store, request()))
    answer = submit(http)
    job = answer.json()
    assert (job["state"], job["schedule_id"]) == ("succeeded", wanted.id)
    assert http.get(job["schedule_url"]).json()["id"] == wanted.id
    assert answer.headers["retry-after"] == "0"


@pytest.mark.usefixtures("queue")
def test_a_failed_job_starts_over(http, store):
    job_id = submit(http).json()["id"]
    store.jobs.fail(job_id, work(store, request()), "out of memory")
    assert http.get(f"/v1/jobs/{job_id}").json()["error"] == "out of memory"
    again = submit(http).json()
    assert (again["id"], again["state"], again["error"]) == (job_id, "queued", None)


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ({"effort": "fast"}, True),
        ({"effort": "standard"}, True),
        ({"effort": "max"}, False),
        ({"effort": "fast", "nfe": 20}, False),
        ({"nfe": 20}, False),
        ({"nfe": 20, "effort": "max"}, False),
        ({"effort": "fast", "nfe": 20, "detail": 1.0}, False),
        ({"effort": "fast", "seed": 1}, False),
        ({"effort": "fast", "solver": "ddim"}, False),
    ],
)
def test_what_the_table_answers_succeeds_at_once(http, store, queue, asked, known):
    measured(store, effort=Effort.STANDARD)
    job = submit(http, **asked).json()
    assert job["state"] == ("succeeded" if known else "queued")
    assert len(queue) == (0 if known else 1)
    if known:
        assert http.get(job["schedule_url"]).json()["nfe"] == job["request"]["nfe"]


@pytest.mark.usefixtures("queue")
def test_a_better_answer_serves_a_request_for_less(http, store):
    wanted = measured(store, effort=Effort.MAX)
    job = submit(http, effort="standard").json()
    assert (job["state"], job["schedule_id"]) == ("succeeded", wanted.id)


def test_an_unknown_model_is_named_with_those_there_are(http, store):
    store.models.publish([toy(), toy(id="digits")], source="host")
    problem = submit(http, 404, model="digit").json()
    assert (problem["received"], problem["expected"], problem["fix"]) == ("digit", "one of digits, toy", "use digits")


@pytest.mark.usefixtures("redis")
def test_without_any_model_the_problem_says_to_start_a_worker(http):
    problem = submit(http, 404, model="digits").json()
    assert "no worker has announced any model" in problem["detail"]
    assert "ays worker" in problem["fix"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"sigma_min": 0.01}, "change sigma_min"),
        ({"sigma_max": 100}, "change sigma_max"),
        ({"sigma_min": 0.001, "sigma_max": 100}, "change sigma_min and sigma_max"),
        ({"sigma_min": 14.6}, "change sigma_min"),
    ],
)
@pytest.mark.usefixtures("store")
def test_a_range_that_the_model_does_not_know_is_refused(http, fields, named):
    problem = submit(http, 422, **fields).json()
    assert problem["expected"] == "0.03 <= sigma_min < sigma_max <= 14.6"
    assert named in problem["fix"]
    assert problem["received"] == fields


@pytest.mark.usefixtures("store")
def test_a_range_inside_is_taken(http):
    assert submit(http, sigma_min=0.03, sigma_max=10).json()["request"]["sigma_max"] == 10


def test_guidance_is_for_models_that_take_it(http, store):
    problem = submit(http, 422, guidance_scale=7.5).json()
    assert "takes no guidance" in problem["detail"]
    store.models.publish([toy(guidance_scale=5.0)], source="host")
    assert submit(http, guidance_scale=7.5).json()["state"] == "queued"


def test_a_model_that_nobody_has_loaded_is_checked_by_its_worker(http, store):
    store.models.publish([toy(kind=None, sigma_min=None, sigma_max=None, fingerprint=None)], source="host")
    assert submit(http, sigma_max=1e5, guidance_scale=2).json()["state"] == "queued"


def test_the_profile_of_a_job_is_its_variant():
    assert request(nfe=4).variant == request(solver="ddim", effort="max").variant == Variant(model="toy")
