"""Requests, schedules and profiles to store."""

from ays_client.contract import Effort, JobRequest, ProfileInfo, Provenance, Schedule, Solver, Source, Terminal, Variant, identity
from tests.store.addresses import addressed


def request(**fields):
    return JobRequest(**{"model": "toy", "nfe": 4} | fields)


def schedule(*, nfe=4, solver=Solver.DPMPP_2M, terminal=Terminal.ZERO, effort=None, validated=False, mark="", fingerprint="f0"):
    sigmas = [80.0 * 0.5**i for i in range(nfe)] + [0.0]
    made = Schedule(
        id="",
        model="toy",
        fingerprint=fingerprint,
        kind="ve",
        nfe=nfe,
        steps=nfe,
        solver=solver,
        terminal=terminal,
        sigmas=sigmas,
        timesteps=sigmas[:-1],
        sigma_min=0.002,
        sigma_max=80.0,
        source=Source.OPTIMIZED,
        validated=validated,
        provenance=Provenance(code_version=mark or "0", effort=effort, detail=1.8),
    )
    return addressed(made)


def validated(**fields):
    return schedule(**{"effort": Effort.STANDARD, "validated": True} | fields)


def profile(variant=None, *, fingerprint="f0", created_at=1.0):
    variant = variant or Variant(model="toy")
    matrix = [[1.0, 0.5], [0.5, 1.0]]
    return ProfileInfo(
        id=identity(variant),
        variant=variant,
        fingerprint=fingerprint,
        levels=[80.0, 0.002],
        paths=16,
        evaluations=1024,
        seconds=1.0,
        moments={"flow": matrix},
        standard_errors={"flow": matrix},
        created_at=created_at,
    )


def untimed(measured):
    """A profile without when it was measured, and how long that took."""
    return measured.model_copy(update={"seconds": 0.0, "created_at": 0.0})
