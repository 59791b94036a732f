"""The clients: they submit, follow and read without pause, and keep a ledger of what they were told."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx2
from pydantic import ValidationError

from ays_client.contract import Job, JobRequest, JobState, Schedule, identity

MODEL = "slow"

_SOLVERS = ("euler", "dpmpp_2m", "ddim")
_CELLS = 12
"""Jobs that share a profile."""


def requests(seed: int) -> Iterator[JobRequest]:
    """Requests without end whose answers do not depend on their order: schedules of a few profiles, and searches of the paper."""
    rng = random.Random(seed)
    while True:
        measured = rng.randrange(10**6)
        cells = [(solver, nfe) for solver in _SOLVERS for nfe in (4, 6, 8, 10, 12)]
        chosen = {"samples": 32, "sweeps": 2, "candidates": 3, "midpoint_sweeps": 1}
        for solver, nfe in rng.sample(cells, _CELLS):
            known = {"model": MODEL, "grid": 24, "solver": solver, "nfe": nfe}
            yield JobRequest.model_validate({**known, "paths": 64, "seed": measured})
            yield JobRequest.model_validate({**known, "method": "paper", "effort": "fast", "paper": chosen, "seed": rng.randrange(10**6)})


@dataclass
class Ledger:
    """What the clients were told.

    Attributes:
        accepted: requests by the id of the job that was accepted.
        jobs: how they ended.
        bodies: schedules as they were served, by the job's id.
        refused: submissions that were answered 503, or not at all, and repeated.
        reads: lookups that were answered with a schedule.
        unread: lookups that were not answered, or with 503.
        lost: what was accepted and is not there, with the reason.
        half: what was served and is not whole, with the reason.
        broken: clients that were told something they cannot understand.
    """

    accepted: dict[str, JobRequest] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    bodies: dict[str, str] = field(default_factory=dict)
    refused: int = 0
    reads: int = 0
    unread: int = 0
    lost: list[str] = field(default_factory=list)
    half: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class Traffic:
    """Clients of some services.

    Args:
        urls: addresses of the services.
        asked: what is asked for; the clients share it.
        clients: how many submit and follow a job each at a time.
        seed: of their choices.
    """

    def __init__(self, urls: list[str], asked: Iterator[JobRequest], *, clients: int, seed: int) -> None:
        self.ledger = Ledger()
        self.deadline = float("inf")
        self._urls, self._asked = urls, asked
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self.clients = [self._thread(self._client, random.Random(f"{seed} {n}")) for n in range(clients)]
        self._threads = [*self.clients, self._thread(self._reader, random.Random(f"{seed} reader"))]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def end(self, *, seconds: float) -> None:
        """Submit nothing more; what was accepted has so long to end."""
        self.deadline = time.monotonic() + seconds
        self._ending.set()

    @property
    def done(self) -> bool:
        """Whether every client has seen its last job end, or given it up."""
        return not any(thread.is_alive() for thread in self._threads)

    def _thread(self, work: Callable[[random.Random], None], rng: random.Random) -> threading.Thread:
        def run() -> None:
            try:
                work(rng)
            except Exception as error:
                self.ledger.broken.append(f"a client ended with {error!r}")
                raise

        return threading.Thread(target=run, daemon=True)

    def _client(self, rng: random.Random) -> None:
        with httpx2.Client(timeout=5.0) as http:
            while not self._ending.is_set():
                with self._lock:
                    request = next(self._asked, None)
                if request is None:
                    return
                job_id = self._submit(http, rng, request)
                if job_id is not None:
                    self._follow(http, rng, job_id)

    def _submit(self, http: httpx2.Client, rng: random.Random, request: JobRequest) -> str | None:
        while not self._ending.is_set():
            answer = self._ask(http, rng, "POST", "/v1/jobs", json=request.model_dump(mode="json"))
            if answer is not None and answer.status_code == 202:
                job_id = str(answer.json()["id"])
                self.ledger.accepted[job_id] = request
                return job_id
            assert answer is None or answer.status_code >= 500, answer.text
            self.ledger.refused += 1
            time.sleep(0.2)
        return None

    def _follow(self, http: httpx2.Client, rng: random.Random, job_id: str) -> None:
        while time.monotonic() < self.deadline:
            answer = self._ask(http, rng, "GET", f"/v1/jobs/{job_id}")
            if answer is not None and answer.status_code == 404:
                self.ledger.lost.append(f"job {job_id} was accepted and is not there")
                return
            if answer is not None and answer.status_code == 200:
                job = Job.model_validate_json(answer.content)
                if job.state.final:
                    self._ended(http, rng, job)
                    return
            time.sleep(0.15)
        self.ledger.lost.append(f"job {job_id} was accepted and never ended")

    def _ended(self, http: httpx2.Client, rng: random.Random, job: Job) -> None:
        self.ledger.jobs[job.id] = job
        if job.state is not JobState.SUCCEEDED:
            return
        while time.monotonic() < self.deadline:
            answer = self._ask(http, rng, "GET", str(job.schedule_url))
            if answer is not None and answer.status_code < 500:
                if answer.status_code == 200 and whole(answer.content, job.schedule_id):
                    self.ledger.bodies[job.id] = answer.text
                else:
                    self.ledger.half.append(f"job {job.id} succeeded and its schedule is {answer.status_code} {answer.text[:200]}")
                return
            time.sleep(0.15)
        self.ledger.lost.append(f"the schedule of job {job.id} could not be read any more")

    def _reader(self, rng: random.Random) -> None:
        """Looks up what may be there, until the end: whatever is served has to be whole."""
        with httpx2.Client(timeout=5.0) as http:
            while not self._ending.wait(0.05):
                known = [request for request in list(self.ledger.accepted.values()) if not request.chosen]
                if not known:
                    continue
                request = rng.choice(known)
                query = {"model": request.model, "grid": request.grid, "paths": request.paths, "seed": request.seed}
                query |= {"solver": rng.choice(_SOLVERS), "nfe": rng.randrange(4, 21, 2)}
                answer = self._ask(http, rng, "GET", "/v1/schedules", params=query)
                if answer is None or answer.status_code >= 500:
                    self.ledger.unread += 1
                elif answer.status_code == 200:
                    self.ledger.reads += 1
                    if not whole(answer.content):
                        self.ledger.half.append(f"a lookup was answered with {answer.text[:200]}")

    def _ask(self, http: httpx2.Client, rng: random.Random, method: str, path: str, **more: object) -> httpx2.Response | None:
        try:
            return http.request(method, rng.choice(self._urls) + path, **more)  # type: ignore[arg-type]
        except httpx2.TransportError:
            return None


def whole(body: bytes, schedule_id: str | None = None) -> bool:
    """Whether a body is a schedule whose id is the address of its content.

    Args:
        body: JSON.
        schedule_id: the id that it should have, if that is known.
    """
    try:
        schedule = Schedule.model_validate_json(body)
    except ValidationError:
        return False
    content = schedule.model_copy(update={"id": "", "formats": {}})
    return identity(content) == schedule.id and schedule_id in {None, schedule.id}
