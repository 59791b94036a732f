"""Schedules for a server that must not wait: whatever the service does, `get` answers within a second and never raises."""

import json
import os
import threading
import time

import pytest

from ays_client import NotFound, ScheduleRefused, Schedules, Unavailable
from ays_client.contract import Source
from ays_client.errors import ServiceError
from tests.client.hostile import GOOD, Dead, Deaf, Hostile
from tests.service.worker import measured

SECOND = 1.0
LIES = ["truncated", "broken_off", "nan", "infinite", "wrong_model", "wrong_budget", "ascending", "too_short", "html", "error"]


def ask(schedules, **changes):
    return schedules.get(**{"model": "toy", "nfe": 4} | changes)


def timed(schedules, **changes):
    start = time.monotonic()
    return ask(schedules, **changes), time.monotonic() - start


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def idle():
    """Nothing is asked in the background."""
    return not any(thread.name == "ays-schedules" and thread.is_alive() for thread in threading.enumerate())


def test_a_schedule_of_the_real_service(server, store, tmp_path):
    wanted = measured(store, table=(8, 9))
    schedules = Schedules(server.url, snapshots=tmp_path)
    assert schedules.get(model="toy", nfe=8, solver="dpmpp_2m") == wanted
    assert schedules.get("toy", nfe=10).source == "interpolated"
    assert schedules.get("stable-diffusion-xl", nfe=10).source == "published"
    assert schedules.get("nobody", nfe=10) is None


def test_it_is_fetched_once(tmp_path):
    with Hostile() as service:
        schedules = Schedules(service.url, snapshots=tmp_path)
        assert [ask(schedules) for _ in range(20)] == [GOOD] * 20
        assert len(service.requests) == 1
        path, tag = service.requests[0]
        assert (path, tag) == ("/v1/schedules?model=toy&nfe=4&fallback=published", None)


def test_threads_that_start_together_ask_once():
    with Hostile() as service:
        schedules, found = Schedules(service.url, snapshots=None), []
        threads = [threading.Thread(target=lambda: found.append(ask(schedules))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [GOOD] * 16
        assert len(service.requests) == 1


def test_it_is_refreshed_in_the_background_by_its_tag():
    with Hostile() as service:
        schedules = Schedules(service.url, snapshots=None, refresh_seconds=0.05)
        ask(schedules)
        until(lambda: ask(schedules) and len(service.requests) >= 3)
        assert service.requests[1][1] == service.requests[2][1] == '"one"'
        better = GOOD.model_copy(update={"id": "b" * 32, "sigmas": [14.0, 3.5, 0.7, 0.1, 0.0]})
        service.body, service._good = better.model_dump_json().encode(), lambda handler: service._send(handler, service.body)
        until(lambda: ask(schedules) == better)


@pytest.mark.parametrize("lie", [*LIES, "unauthorized"])
def test_a_lie_is_no_schedule(lie, caplog):
    with Hostile(lie) as service:
        schedules = Schedules(service.url, snapshots=None)
        for _ in range(5):
            found, seconds = timed(schedules)
            assert found is None
            assert seconds < SECOND
    assert len([record for record in caplog.records if record.name == "ays_client"]) == 1
    assert "the pipeline's own schedule is used" in caplog.text


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_does_not_replace_what_is_known(lie, caplog):
    with Hostile() as service:
        schedules = Schedules(service.url, snapshots=None, refresh_seconds=0.02)
        ask(schedules)
        service.answer = lie
        asked = len(service.requests)
        until(lambda: ask(schedules) == GOOD and len(service.requests) > asked + 2)
    assert caplog.text.count("its last answer is used") == 1


@pytest.mark.parametrize("answer", ["slow", "trickling", "endless"])
def test_a_slow_service_is_waited_for_once_and_less_than_a_second(answer, caplog):
    with Hostile(answer) as service:
        schedules = Schedules(service.url, snapshots=None)
        waits = [timed(schedules, nfe=nfe) for nfe in (4, 4, 4, 5, 6)]
        assert all(found is None for found, _ in waits)
        assert sum(seconds for _, seconds in waits) < SECOND
    assert len({record.getMessage() for record in caplog.records}) == len(caplog.records)


@pytest.mark.parametrize("nobody", [Dead, Deaf])
def test_nobody_there(nobody, caplog):
    with nobody() as service:
        schedules = Schedules(service.url, snapshots=None)
        waits = [timed(schedules) for _ in range(20)]
        assert all(found is None for found, _ in waits)
        assert sum(seconds for _, seconds in waits) < SECOND
        until(idle)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_service_that_recovers_is_noticed(caplog):
    with Hostile("error") as service:
        schedules = Schedules(service.url, snapshots=None, refresh_seconds=0.02)
        assert ask(schedules) is None
        service.answer = "good"
        until(lambda: ask(schedules) == GOOD)
        assert "answers again" in caplog.text
        service.answer = "html"
        until(lambda: ask(schedules) == GOOD and caplog.text.count("no schedule of toy") == 2)


def test_the_snapshot_outlives_the_process_and_the_service(tmp_path):
    with Hostile() as service:
        first = Schedules(service.url, snapshots=tmp_path)
        assert ask(first) == GOOD
        until(lambda: list(tmp_path.glob("*.json")))
        service.answer = "slow"
        found, seconds = timed(Schedules(service.url, snapshots=tmp_path))
        assert found == GOOD
        assert seconds < 0.5
        assert service.requests[-1][1] in {None, '"one"'}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00", json.dumps({"etag": None, "schedule": {}}).encode(), "other"])
def test_a_broken_snapshot_is_none(tmp_path, content):
    with Hostile() as service:
        ask(Schedules(service.url, snapshots=tmp_path))
        until(lambda: list(tmp_path.glob("*.json")))
        (file,) = tmp_path.glob("*.json")
        file.write_bytes(file.read_bytes().replace(b'"toy"', b'"tox"') if content == "other" else content)
        assert ask(Schedules(service.url, snapshots=tmp_path)) == GOOD
        assert len(service.requests) == 2


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path):
    (tmp_path / "file").write_text("")
    with Hostile() as service:
        assert ask(Schedules(service.url, snapshots=tmp_path / "file" / "folder")) == GOOD


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_it_works_in_the_children_of_a_server_that_forks():
    with Hostile() as service:
        schedules = Schedules(service.url, snapshots=None, refresh_seconds=0.01)
        ask(schedules)
        child = os.fork()
        if child == 0:
            asked = ask(schedules, nfe=4, solver="ddim") is None and ask(schedules) == GOOD
            os._exit(0 if asked else 1)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ("wrong_model", ScheduleRefused, "received model=other, expected model=toy"),
        ("ascending", ScheduleRefused, "its levels do not decrease"),
        ("error", Unavailable, "answered with status 500"),
        ("unauthorized", ServiceError, "answered with status 401"),
        ("slow", Unavailable, "has not answered within 0.2 s"),
    ],
)
def test_strict_raises(answer, error, message):
    with Hostile(answer) as service:
        schedules = Schedules(service.url, snapshots=None, strict=True, wait_seconds=0.2 if answer == "slow" else 0.9)
        with pytest.raises(error, match=message):
            ask(schedules)


@pytest.mark.parametrize("guidance", [None, 3.0])
def test_an_answer_for_another_guidance_is_none(guidance):
    with Hostile() as service:
        service.body = GOOD.model_copy(update={"guidance_scale": 7.5}).model_dump_json().encode()
        schedules = Schedules(service.url, snapshots=None, strict=True)
        assert ask(schedules).guidance_scale == ask(schedules, guidance_scale=7.5).guidance_scale == 7.5
        service.body = GOOD.model_copy(update={"guidance_scale": guidance}).model_dump_json().encode()
        with pytest.raises(ScheduleRefused, match=f"received guidance_scale={guidance}, expected guidance_scale=5.0"):
            ask(schedules, guidance_scale=5.0)


def test_a_published_table_answers_every_guidance():
    with Hostile() as service:
        service.body = GOOD.model_copy(update={"guidance_scale": None, "source": Source.PUBLISHED}).model_dump_json().encode()
        schedules = Schedules(service.url, snapshots=None, strict=True)
        assert ask(schedules, guidance_scale=5.0).guidance_scale is None


@pytest.mark.usefixtures("store")
def test_strict_raises_what_the_service_says(server):
    schedules = Schedules(server.url, snapshots=None, strict=True)
    with pytest.raises(NotFound, match="nothing is cached"):
        schedules.get("toy", nfe=8)
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        schedules.get("toy", nfe=1)


def test_what_nobody_could_answer_is_not_asked(caplog):
    with Hostile() as service:
        schedules = Schedules(service.url, snapshots=None)
        assert [ask(schedules, nfe=nfe) for nfe in (0, 1, 1000)] == [None] * 3
        assert ask(schedules, solver="magic") is None
        assert service.requests == []
    assert len(caplog.records) == 1


def test_an_address_without_a_scheme_is_refused():
    with pytest.raises(ValueError, match="expected one like http://"):
        Schedules("127.0.0.1:8000")
