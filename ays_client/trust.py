"""What a schedule must satisfy before it may touch a sampler: a schedule for another model runs, and its images look broken."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ays_client.contract import Schedule, Solver, Source, Target
from ays_client.errors import ScheduleRefused
from ays_client.scheduler_rules import kind_of
from ays_client.stock import times_between

_RANGE = 0.01
"""Relative: how far the levels may leave the range of a scheduler."""

_TIMES = 0.03
"""Share of the training timesteps by which a served timestep may miss that of its level: interpolated ones are not exact."""

_SUM = 1e-6
"""How far the weights of a step may sum to another number than 1."""

_IT = "the schedule"


def check_answer(schedule: Schedule, asked: Target) -> None:
    """Whether a schedule answers a question.

    Raises:
        ScheduleRefused: it is for another model, budget, solver, terminal or guidance, or is malformed.
    """
    for name in ("model", "nfe", "steps", "solver", "terminal", *["guidance_scale"] * _guided(schedule, asked)):
        received, expected = getattr(schedule, name), getattr(asked, name)
        if received != expected:
            why = f"received {name}={received}, expected {name}={expected}"
            raise ScheduleRefused.of(_IT, why=why, fix="check the address of the service")
    check_levels(schedule)


def _guided(schedule: Schedule, asked: Target) -> bool:
    """Whether the guidance must be the same: a question without one means the model's, and published and stock levels are of none."""
    table = schedule.source in {Source.PUBLISHED, Source.STOCK} and schedule.guidance_scale is None and schedule.weights is None
    return asked.guidance_scale is not None and not table


def check_levels(schedule: Schedule) -> None:
    """Whether a schedule's levels and timesteps are well formed.

    Raises:
        ScheduleRefused: they are not.
    """
    levels, times = schedule.sigmas, schedule.timesteps
    for wrong, why in (
        (len(levels) != schedule.steps + 1, f"it has {len(levels)} levels for {schedule.steps} steps"),
        (len(times) != schedule.steps, f"it has {len(times)} timesteps for {schedule.steps} steps"),
        (not all(math.isfinite(number) for number in [*levels, *times]), "it has levels or timesteps that are not finite"),
        (not _falls(levels), "its levels do not decrease"),
        (not _falls(times), "its timesteps do not decrease"),
        (levels[-1:] != [0.0] if schedule.terminal == "zero" else min(levels, default=0) <= 0, "it does not end where it says"),
        (not _weighted(schedule), "its weights are not those of its solver and steps"),
        (schedule.t is not None and len(schedule.t) != len(levels), "its t are not those of its levels"),
    ):
        if wrong:
            raise ScheduleRefused.of(_IT, why=why, fix="fetch it again")


def check_scheduler(scheduler: Any, schedule: Schedule) -> None:
    """Whether a schedule is one for the model that a scheduler belongs to, as far as its configuration tells.

    Args:
        scheduler: a stock diffusers scheduler.
        schedule: a schedule whose levels are well formed.

    Raises:
        ScheduleRefused: they have another noise process, prediction, range of levels or map from levels to timesteps.
    """
    name, kind, config = type(scheduler).__name__, kind_of(scheduler), scheduler.config
    if schedule.kind != kind:
        _differ(name, "noise process", schedule.kind, kind)
    predicts = config.get("prediction_type")
    if kind != "flow" and None not in {predicts, schedule.prediction_type} and predicts != schedule.prediction_type:
        _differ(name, "prediction type", schedule.prediction_type, predicts)
    top, table = (config.get("sigma_max") if kind == "edm" else None), []
    if kind == "vp":
        table = [math.sqrt((1 - signal) / signal) for signal in scheduler.alphas_cumprod.tolist() if signal > 0]
        top = max(table)
    if top is not None and schedule.sigmas[0] > top * (1 + _RANGE):
        _differ(name, "highest noise level", f"{schedule.sigmas[0]:g}", f"at most {top:g}")
    if kind == "vp":
        _check_times(name, table, schedule)


def _check_times(name: str, table: Sequence[float], schedule: Schedule) -> None:
    known = [(sigma, index) for index, sigma in enumerate(table) if sigma > 0]
    own = times_between(known, schedule.sigmas[: schedule.steps])
    miss, received, expected = max((abs(time - mine), time, mine) for time, mine in zip(schedule.timesteps, own, strict=True))
    if miss > _TIMES * len(table):
        _differ(name, "map from noise levels to timesteps", f"timestep {received:g}", f"{expected:g}")


def _weighted(schedule: Schedule) -> bool:
    """Whether a fitted schedule has weights of sum 1 for the evaluations that each step has, and no other schedule has any."""
    if schedule.weights is None or schedule.solver is not Solver.FITTED:
        return schedule.weights is None and schedule.solver is not Solver.FITTED
    return len(schedule.weights) == schedule.steps and all(
        1 <= len(own) <= known and math.isclose(sum(own), 1.0, abs_tol=_SUM) for known, own in enumerate(schedule.weights, start=1)
    )


def _falls(values: Sequence[float]) -> bool:
    return all(upper > lower for upper, lower in pairwise(values))


def _differ(name: str, what: str, received: object, expected: object) -> None:
    why = f"the schedule is for another model: received the {what} {received}, expected {expected}"
    raise ScheduleRefused.of(name, why=why, fix="ask for a schedule of this pipeline's model")
