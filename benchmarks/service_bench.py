"""How fast the service answers: `make bench-service`.

Requests a second and times of an answer for lookups from memory, next to a bare FastAPI route (`benchmarks.hello`) under the same server in
the same run, round by round in turn, so that whatever else the machine does hits all of them. Server and generator have a core each where
there are two. Then the time from POST to schedule for a model whose profile is cached, through a real Redis and a real worker.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop
from redis import Redis

from ays_client import Client, ServiceError
from ays_client.contract import Effort, JobRequest, Solver
from ays_store import Store
from ays_store.api_keys import Scope
from benchmarks.load import Measured, get, load
from service.local.embedded_redis import EmbeddedRedis
from service.local.stack import free_port

_ALIAS = "/v1/schedules?model=digits&nfe=10"
_BARE = "bare FastAPI route"
_START_SECONDS = 120.0
_AIM = 0.8


@dataclass(frozen=True)
class Row:
    """A kind of request.

    Attributes:
        name: what it is.
        port: whom it is asked.
        request: its bytes.
        status: the status it gets.
    """

    name: str
    port: int
    request: bytes
    status: int = 200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a round of one row (2)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument("--connections", type=int, default=16, help="requests at a time (16)")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(EmbeddedRedis(folder / "redis")).url
        worker = stack.enter_context(process(["-m", "worker"], AYS_REDIS_URL=url, AYS_THREADS="1"))
        ports = {name: free_port("127.0.0.1", 0) for name in ("service", "keys", "bare")}
        api = {"AYS_REDIS_URL": url, "AYS_LOG_LEVEL": "info"}
        keyed = {"AYS_REQUIRE_KEYS": "true", "AYS_READS_PER_MINUTE": "1000000000"}
        bare = ["-m", "uvicorn", "benchmarks.hello:app", "--no-access-log", "--log-level", "warning", "--port", str(ports["bare"])]
        servers = [
            stack.enter_context(process(["-m", "service"], **api, AYS_PORT=str(ports["service"]))),
            stack.enter_context(process(["-m", "service"], **api, **keyed, AYS_PORT=str(ports["keys"]))),
            stack.enter_context(process(bare)),
        ]
        with Client(f"http://127.0.0.1:{ports['service']}", timeout=20.0) as client:
            wait_ready(client)
            schedule_id = client.wait(client.submit(JobRequest(model="digits", nfe=10, effort=Effort.FAST)).id).schedule_id
            assert schedule_id is not None
            ended = _post_to_schedule(client)
        _, key = Store(Redis.from_url(url)).api_keys.create("bench", Scope.READ)
        worker.terminate()
        _one_core_each([server.pid for server in servers])
        rows = _rows(ports, schedule_id, key)
        found = _rounds(rows, arguments.rounds, seconds=arguments.seconds, connections=arguments.connections)
    _report(found, ended)
    return 0


def _rows(ports: Mapping[str, int], schedule_id: str, key: str) -> list[Row]:
    port, bearer = ports["service"], {"authorization": f"Bearer {key}"}
    return [
        Row(_BARE, ports["bare"], get("/")),
        Row("alias, 200", port, get(_ALIAS)),
        Row("by its id, 200", port, get(f"/v1/schedules/{schedule_id}")),
        Row("alias, 304", port, get(_ALIAS, if_none_match=f'"{schedule_id}"'), 304),
        Row("alias, 200, with an API key", ports["keys"], get(_ALIAS, **bearer)),
        Row("not from memory: a model", port, get("/v1/models/digits")),
    ]


def _rounds(rows: list[Row], rounds: int, *, seconds: float, connections: int) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {row.name: [] for row in rows}
    for number in range(rounds + 1):
        for row in rows:
            length = seconds if number else min(seconds, 0.5)
            measured = uvloop.run(load(row.port, row.request, status=row.status, connections=connections, seconds=length))
            # The first round warms up.
            if number:
                found[row.name].append(measured)
    return found


def _post_to_schedule(client: Client) -> dict[str, list[float]]:
    """Seconds from a submission to the schedule in hand; the profile is cached."""
    cached = [_timed(client, JobRequest(model="digits", nfe=nfe, effort=Effort.FAST)) for nfe in range(11, 31)]
    others = (Solver.DDIM, Solver.EULER, Solver.HEUN, Solver.SDDIM)
    computed = [_timed(client, JobRequest(model="digits", nfe=9, solver=solver, detail=0.5, effort=Effort.FAST)) for solver in others]
    return {"a cell of the table": cached, "a detail of its own, computed by the worker": computed}


def _timed(client: Client, request: JobRequest) -> float:
    start = time.perf_counter()
    job = client.submit(request)
    if not job.state.final:
        job = client.wait(job.id)
    assert job.schedule_id is not None, job.error
    client.schedule_by_id(job.schedule_id)
    return time.perf_counter() - start


def _report(found: dict[str, list[Measured]], ended: dict[str, list[float]]) -> None:
    print(f"{'':30} {'requests/s':>10} {'x bare':>7} {'p50 ms':>7} {'p99 ms':>7} {'generator':>9}")
    for name, rounds in found.items():
        middle = {field: statistics.median(getattr(each, field) for each in rounds) for field in ("rate", "p50", "p99", "busy")}
        ratio = statistics.median(ours.rate / bare.rate for ours, bare in zip(rounds, found[_BARE], strict=True))
        print(f"{name:30} {middle['rate']:10.0f} {ratio:7.2f} {middle['p50'] * 1e3:7.2f} {middle['p99'] * 1e3:7.2f} {middle['busy']:8.0%}")
    print(f"\nmedians over rounds, ratios within a round; aim: at least {_AIM} x bare. generator: share of its core\n")
    for name, seconds in ended.items():
        print(f"POST to schedule, {name}: median {statistics.median(seconds) * 1e3:.1f} ms, longest {max(seconds) * 1e3:.1f} ms")


@contextmanager
def process(arguments: list[str], **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of ours with these `AYS_` variables and no others, ended at the end."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AYS_")}
    process = subprocess.Popen([sys.executable, *arguments], env={**own, **environment}, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_ready(client: Client) -> None:
    """Wait until the service has Redis and a worker."""
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            client.check_ready()
        except ServiceError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def _one_core_each(servers: list[int]) -> None:
    """Give the servers one core, and us, who make the load, another."""
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[0]})
        for server in servers:
            os.sched_setaffinity(server, {cores[1]})


if __name__ == "__main__":
    sys.exit(main())
