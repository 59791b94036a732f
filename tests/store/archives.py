"""A store with a bit of everything, as workers fill it, and files made from it."""

import hashlib
import io

from ays_client.contract import Effort, Error, Estimate, Method, ProfileInfo, Solver, Terminal, Variant, identity
from ays_client.curve import LossCurve
from ays_client.samples import SampleGrid
from tests.store import bodies
from tests.store.addresses import addressed

VARIANT = Variant(model="toy", grid=16)
TABLE = identity(VARIANT)
CURVE = LossCurve(sigma=[0.01 * 2**i for i in range(10)], loss=[0.1 * 1.5**i for i in range(10)])


def schedule(*, method=Method.PROFILE, model="toy", shift=0.0, **fields):
    made = bodies.schedule(**fields)
    error = Error(ours=Estimate(mean=1 / 3, standard_error=0.01), stock={}, noises=64) if made.validated else None
    provenance = made.provenance.model_copy(update={"method": method, "cost": Estimate(mean=0.1 + shift, standard_error=1e-3)})
    return addressed(made.model_copy(update={"model": model, "error": error, "provenance": provenance}))


def profile(*, fingerprint="f0", created_at=1.0, model="toy"):
    variant = VARIANT.model_copy(update={"model": model})
    size = variant.grid
    matrix = [[1.0 / (1 + abs(row - column)) for column in range(size)] for row in range(size)]
    both = {"flow": matrix, "forward": matrix}
    return ProfileInfo(
        id=identity(variant),
        variant=variant,
        fingerprint=fingerprint,
        levels=[80.0 * 0.5**step for step in range(size)],
        paths=16,
        evaluations=1024,
        seconds=1.0,
        loss=[row[0] for row in matrix],
        moments=both,
        standard_errors=both,
        origin={"flow": [0.5] * (size + 1)},
        groups={"flow": [[0.25] * ((size + 1) * (size + 2) // 2)] * 2},
        created_at=created_at,
    )


def commit(store, wanted, *others, of=None, samples=False, **fields):
    """End a job with some schedules."""
    fields = {"nfe": wanted.nfe, "solver": wanted.solver, "terminal": wanted.terminal, "grid": 16, "model": wanted.model} | fields
    job, _ = store.jobs.submit(bodies.request(**fields))
    token = store.jobs.start(job.id, "w1")
    assert token is not None, job
    drawn = None
    if samples:
        drawn = SampleGrid(
            schedule_id=wanted.id,
            rows=["ours"],
            stock="edm",
            errors={"ours": 0.1},
            noises=1,
            height=1,
            width=1,
            evaluations=4,
            image="data:image/png;base64,AA==",
        )
    kept = store.results.commit(job.id, token, profile=of, schedules=[wanted, *others], requested_schedule_id=wanted.id, samples=drawn)
    assert kept
    return wanted


def fill(store):
    """Two models, a table of the paper's method, a schedule for a chosen detail, samples, a curve and its table."""
    best = schedule(effort=Effort.STANDARD, validated=True)
    guards = {Solver.DDIM: Effort.FAST, Solver.DPMPP_2M: None}
    table = [schedule(nfe=nfe, solver=solver, effort=effort) for nfe in (2, 3, 5, 9) for solver, effort in guards.items()]
    commit(store, best, *table, of=profile(), samples=True)
    commit(store, schedule(effort=Effort.MAX, validated=True, terminal=Terminal.ZERO, nfe=7), detail=2.0)
    commit(store, schedule(method=Method.PAPER, nfe=10, solver=Solver.DDIM), method="paper")
    commit(store, schedule(model="other"), of=profile(model="other"))
    store.results.keep_curve(CURVE)
    of_curve = addressed(schedule(model=CURVE.id, solver=Solver.SDDIM, fingerprint=CURVE.id))
    commit(store, of_curve, grid=64)
    return best


def results(redis):
    """All that is stored of results, but for how long curves live."""
    kinds = ("profile", "variants", "cells", "schedule", "samples", "curve")
    found = {}
    for kind in kinds:
        for key in redis.scan_iter(f"ays:2:{kind}:*"):
            found[key] = redis.hgetall(key) if redis.type(key) == b"hash" else redis.get(key)
    return found


def exported(store, **options):
    file = io.BytesIO()
    store.exporter.write(file, **options)
    return file.getvalue()


def imported(store, raw, **options):
    return store.importer.read(io.BytesIO(raw), **options)


def sealed(lines):
    """An archive of these lines (their JSON without checksum), with checksums that hold."""
    whole = b""
    for number, line in enumerate([*lines, None]):
        text = line if line is not None else f'{{"kind":"footer","lines":{number},"digest":"{hashlib.sha256(whole).hexdigest()}"}}'.encode()
        rest = text[1:]
        whole += b'{"sha256":"' + hashlib.sha256(rest).hexdigest().encode() + b'",' + rest + b"\n"
    return whole


def opened(raw):
    """The lines of an archive without their checksums, and without the last one."""
    return [b"{" + line[77:] for line in raw.splitlines()[:-1]]
