"""What a worker would write: models, jobs at work, tables of schedules."""

import math

from ays_client.contract import (
    Effort,
    JobRequest,
    Model,
    ProfileInfo,
    Progress,
    Provenance,
    Schedule,
    Solver,
    Source,
    Terminal,
    identity,
)
from ays_client.solvers import CARDS
from ays_client.stock import stock, times_of_kind, whole_times
from tests.store.addresses import addressed

SIGMA_MIN, SIGMA_MAX = 0.03, 14.6
WHOLE_TABLE = tuple(range(2, 65))


def time_of(sigma):
    """The time map of the vp model of these tests: a curve, as that of a real one."""
    return 999 * (math.log(sigma / SIGMA_MIN) / math.log(SIGMA_MAX / SIGMA_MIN)) ** 0.8


def toy(**changes):
    """The model that is offered."""
    fields = {"id": "toy", "title": "Toy", "kind": "vp", "shape": [2], "sigma_min": SIGMA_MIN, "sigma_max": SIGMA_MAX}
    return Model(**fields | {"prediction_type": "epsilon", "fingerprint": "f0"} | changes)


def request(**fields):
    return JobRequest(**{"model": "toy", "nfe": 8} | fields)


def body(**fields):
    return {"model": "toy", "nfe": 8} | fields


def schedule(*, nfe=8, solver=Solver.DPMPP_2M, terminal=Terminal.ZERO, effort=Effort.STANDARD, validated=False, kind="vp", bend=0):
    """A schedule between EDM and log-SNR levels, different for every `bend`."""
    steps = CARDS[solver].steps(nfe)
    levels = stock("edm", steps, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, terminal=terminal, rho=5 + bend)
    times = times_of_kind(kind, levels[:-1]) or [time_of(sigma) for sigma in levels[:-1]]
    made = Schedule(
        id="",
        model="toy",
        fingerprint="f0",
        kind=kind,
        nfe=nfe,
        steps=steps,
        solver=solver,
        terminal=terminal,
        sigmas=levels,
        t=[sigma / (1 + sigma) for sigma in levels] if kind == "flow" else None,
        timesteps=times,
        timesteps_int=whole_times(times),
        sigma_min=SIGMA_MIN,
        sigma_max=SIGMA_MAX,
        prediction_type="epsilon",
        source=Source.OPTIMIZED,
        validated=validated,
        provenance=Provenance(code_version="0", effort=effort, detail=1.8),
    )
    return addressed(made)


def profile(variant):
    matrix = [[1.0, 0.5], [0.5, 1.0]]
    return ProfileInfo(
        id=identity(variant),
        variant=variant,
        fingerprint="f0",
        levels=[SIGMA_MAX, SIGMA_MIN],
        paths=16,
        evaluations=1024,
        seconds=1.0,
        moments={"flow": matrix},
        standard_errors={"flow": matrix},
        created_at=1.0,
    )


def work(store, asked, *, progress=()):
    """Take a job that is queued, report some progress; returns its token."""
    token = store.jobs.start(identity(asked), "w1")
    assert token is not None
    for done in progress:
        store.jobs.report(identity(asked), token, Progress(stage="profile", done=done, total=64))
    return token


def finish(store, asked, token, *, table=(), kind="vp"):
    """End a job as a worker does: the requested schedule, validated, and the other cells of its solver in one transaction."""
    wanted = schedule(
        nfe=asked.nfe, solver=asked.solver, terminal=asked.terminal, effort=asked.effort, validated=asked.effort != "fast", kind=kind
    )
    others = [schedule(nfe=nfe, solver=asked.solver, terminal=asked.terminal, kind=kind) for nfe in table if nfe != asked.nfe]
    kept = store.results.commit(
        identity(asked), token, profile=profile(asked.variant), schedules=[*others, wanted], requested_schedule_id=wanted.id
    )
    assert kept
    return wanted


def measured(store, *, table=WHOLE_TABLE, kind="vp", **fields):
    """A model that has been measured by a job; returns the schedule that the job asked for."""
    asked = request(**fields)
    store.jobs.submit(asked)
    return finish(store, asked, work(store, asked), table=table, kind=kind)
