"""Schedules to render and to serve."""

from ays_client.contract import Provenance, Schedule, Solver, Source, Terminal
from ays_client.stock import times_of_kind, whole_times


def schedule(*, kind="vp", nfe=4, solver=Solver.DPMPP_2M, sigmas=(14.6146, 3.5, 0.7, 1e-05, 0.0), **changes) -> Schedule:
    """A schedule of the model `toy` with these levels."""
    evaluated = list(sigmas[:-1])
    times = times_of_kind(kind, evaluated) or [300.0 - 50.5 * index for index in range(len(evaluated))]
    fields = {
        "id": "a" * 32,
        "model": "toy",
        "fingerprint": "f",
        "kind": kind,
        "nfe": nfe,
        "steps": len(evaluated),
        "solver": solver,
        "terminal": Terminal.ZERO if sigmas[-1] == 0 else Terminal.SIGMA_MIN,
        "sigmas": list(sigmas),
        "t": [sigma / (1 + sigma) for sigma in sigmas] if kind == "flow" else None,
        "timesteps": times,
        "timesteps_int": whole_times(times),
        "sigma_min": 1e-05,
        "sigma_max": sigmas[0],
        "source": Source.OPTIMIZED,
        "validated": True,
        "provenance": Provenance(code_version="1"),
    }
    return Schedule.model_validate(fields | changes)
