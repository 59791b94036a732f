"""Hours in minutes: `make soak`. Mixed load on a real service and a real worker, and whether their memory stays where it was.

Clients submit jobs, the same and different ones, cancel some, follow events, look schedules up in many ways, list jobs and ask for
what does not exist. After a warm-up (a quarter of the time) the median memory of a process may not grow by more than 5 % until the
last quarter. Exits with 1 when one does, or when a request failed.
"""

import argparse
import itertools
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import psutil

from ays_client import Client, ServiceError
from ays_client.contract import Effort, JobRequest, Solver
from ays_client.errors import NotFound
from benchmarks.service_bench import process, wait_ready
from service.local.embedded_redis import EmbeddedRedis
from service.local.stack import free_port

_GROWTH = 0.05
_SAMPLE_SECONDS = 1.0
_PAUSE_SECONDS = 0.02
_CLIENTS = 4
_SOLVERS = (Solver.DDIM, Solver.EULER, Solver.DPMPP_2M, Solver.SDDIM)


class Load:
    """One client that does one thing after the other, until told to stop.

    Args:
        url: the service.
        seed: of its choices.
        ended: set when it has to stop.
    """

    def __init__(self, url: str, seed: int, ended: threading.Event) -> None:
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []
        self._url, self._random, self._ended = url, random.Random(seed), ended
        self._seeds = itertools.count(1 + seed * 10**6)
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        kinds = {"look up": 12, "fall back": 4, "nothing": 2, "list": 2, "submit again": 3, "submit": 1, "cancel": 1, "follow": 1}
        with Client(self._url, timeout=60.0) as client:
            while not self._ended.wait(_PAUSE_SECONDS):
                kind = self._random.choices(list(kinds), list(kinds.values()))[0]
                try:
                    self._do(kind, client)
                except ServiceError as error:
                    self.failed.append(f"{kind}: {error}")
                self.done[kind] += 1

    def _do(self, kind: str, client: Client) -> None:
        pick = self._random.choice
        match kind:
            case "look up":
                client.schedule("digits", nfe=self._random.randint(4, 30))
            case "fall back":
                solver, scale = pick(_SOLVERS), self._random.random()
                client.schedule("digits", nfe=self._random.randint(4, 64), solver=solver, fallback="stock", sigma_max=1.0 + scale)
            case "nothing":
                try:
                    client.job(f"{self._random.getrandbits(64):x}")
                except NotFound:
                    return
            case "list":
                client.jobs(limit=50)
            case "submit again":
                client.submit(JobRequest(model="digits", nfe=self._random.randint(4, 30), effort=Effort.FAST))
            case "submit":
                client.submit(self._new())
            case "cancel":
                client.cancel(client.submit(self._new()).id)
            case "follow":
                for _ in client.events(client.submit(self._new()).id):
                    if self._ended.is_set():
                        return

    def _new(self) -> JobRequest:
        # A detail of its own is computed for itself, from the profile that is there.
        detail = next(self._seeds) % 4000 / 1000
        return JobRequest(
            model="digits", nfe=self._random.randint(4, 30), solver=self._random.choice(_SOLVERS), detail=detail, effort="fast"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="length of the run (600)")
    seconds = parser.parse_args().seconds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url, port = stack.enter_context(EmbeddedRedis(folder / "redis")).url, free_port("127.0.0.1", 0)
        worker = stack.enter_context(process(["-m", "worker"], AYS_REDIS_URL=url, AYS_THREADS="1"))
        service = stack.enter_context(process(["-m", "service"], AYS_REDIS_URL=url, AYS_PORT=str(port), AYS_LOG_LEVEL="warning"))
        address = f"http://127.0.0.1:{port}"
        with Client(address, timeout=20.0) as client:
            wait_ready(client)
            client.wait(client.submit(JobRequest(model="digits", nfe=10, effort=Effort.FAST)).id)
        memory, loads = _soak(address, {"service": service.pid, "worker": worker.pid}, seconds)
    return _report(memory, loads)


def _soak(address: str, pids: dict[str, int], seconds: float) -> tuple[dict[str, list[int]], list[Load]]:
    ended = threading.Event()
    loads = [Load(address, seed, ended) for seed in range(_CLIENTS)]
    memory: dict[str, list[int]] = {name: [] for name in pids}
    for load in loads:
        load.thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, pid in pids.items():
            memory[name].append(_resident(pid))
        time.sleep(_SAMPLE_SECONDS)
    ended.set()
    for load in loads:
        load.thread.join(60.0)
    return memory, loads


def _resident(pid: int) -> int:
    """Bytes in memory of a process and its children: a worker computes in one."""
    parent = psutil.Process(pid)
    return sum(each.memory_info().rss for each in [parent, *parent.children(recursive=True)])


def _report(memory: dict[str, list[int]], loads: list[Load]) -> int:
    done = sum((load.done for load in loads), Counter[str]())
    failed = [line for load in loads for line in load.failed]
    print(", ".join(f"{kind} {number}" for kind, number in sorted(done.items())))
    print(f"{len(failed)} failed", *failed[:5], sep="\n")
    print(f"\n{'':10} {'after warm-up':>14} {'at the end':>11} {'growth':>7}")
    grown = False
    for name, samples in memory.items():
        quarter = max(1, len(samples) // 4)
        early, late = (statistics.median(part) for part in (samples[quarter : 2 * quarter], samples[-quarter:]))
        growth = late / early - 1
        grown = grown or growth > _GROWTH
        print(f"{name:10} {early / 2**20:11.1f} MB {late / 2**20:8.1f} MB {growth:7.1%}")
    return 1 if grown or failed else 0


if __name__ == "__main__":
    sys.exit(main())
