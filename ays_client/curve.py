"""A denoising-loss curve, from which first-order schedules follow without the model: body of `POST /v1/curves`.

The checks are here, in plain Python, so that the service and the command line refuse the same curves in the same words. Each message
ends with what to do.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ays_client.contract import CURVE_PREFIX, NFE_MAX, NFE_MIN, Effort, JobRequest, Method, Priority, Solver, Terminal, identity
from ays_client.webhooks import Webhook

POINTS_MIN, POINTS_MAX = 8, 1024
"""Numbers of levels that a curve may have."""

RANGE_MIN = 10.0
"""Smallest ratio of its highest and lowest level."""

FALL_MAX = 0.25
"""Largest relative fall of the loss towards higher noise that is taken for noise of the measurement."""

_EVEN = 0.01


class LossCurve(BaseModel):
    """Mean squared error of a denoiser at noise levels.

    A factor of the loss changes no schedule: the sum over dimensions and the mean over them are equally good, and so is any unit.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    sigma: Annotated[list[float], Field(min_length=POINTS_MIN, max_length=POINTS_MAX)] = Field(
        description="noise-to-signal ratios, in order, rising or falling"
    )
    loss: Annotated[list[float], Field(min_length=POINTS_MIN, max_length=POINTS_MAX)] = Field(
        description="E ||D(x_0 + sigma eps, sigma) - x_0||^2 at each, in any unit"
    )
    kind: Literal["ve", "edm", "flow"] = Field("ve", description="process of the model, for the native times in the answer")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        problem = _mistake(self.sigma, self.loss)
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def id(self) -> str:
        """Content address: the same curve is the same id, in either order."""
        return f"{CURVE_PREFIX}{identity(self.rising())}"

    def rising(self) -> "LossCurve":
        """The same curve from the lowest level to the highest."""
        if self.sigma[0] < self.sigma[-1]:
            return self
        return LossCurve(sigma=self.sigma[::-1], loss=self.loss[::-1], kind=self.kind)


class CurveRequest(LossCurve):
    """Body of `POST /v1/curves`: a curve, and the schedule that is wanted first; its job makes those of every other `nfe` too."""

    nfe: Annotated[int, Field(ge=NFE_MIN, le=NFE_MAX)] = 10
    solver: Solver = Solver.SDDIM
    terminal: Terminal = Terminal.ZERO
    method: Method = Method.PROFILE
    detail: Literal["auto"] | Annotated[float, Field(ge=0, le=4)] = "auto"
    webhook: Webhook | None = None
    priority: Priority = Field(Priority.INTERACTIVE, description="batch: others may go first")

    @model_validator(mode="after")
    def _asked(self) -> Self:
        try:
            JobRequest.model_validate(self._target())
        except ValidationError as error:
            raise ValueError(str(error.errors(include_url=False)[0]["msg"]).removeprefix("Value error, ")) from None
        return self

    @property
    def curve(self) -> LossCurve:
        """The curve alone."""
        return LossCurve(sigma=self.sigma, loss=self.loss, kind=self.kind)

    @property
    def request(self) -> JobRequest:
        """The request for a schedule of this curve."""
        return JobRequest.model_validate(self._target())

    def _target(self) -> dict[str, object]:
        asked = {"nfe": self.nfe, "solver": self.solver, "terminal": self.terminal, "method": self.method, "detail": self.detail}
        return {"model": self.curve.id, "effort": Effort.FAST, **asked}


def _mistake(sigma: Sequence[float], loss: Sequence[float]) -> str | None:
    """What is wrong with a curve and what to do about it; None for a good one."""
    if len(sigma) != len(loss):
        return f"sigma has {len(sigma)} values and loss {len(loss)}; send one loss for every sigma"
    found = _mistake_of_levels(sigma)
    if found is not None:
        return found
    if sigma[0] > sigma[-1]:
        sigma, loss = sigma[::-1], loss[::-1]
    return _mistake_of_loss(sigma, loss)


def _mistake_of_levels(sigma: Sequence[float]) -> str | None:
    steps = [after - before for before, after in pairwise(sigma)]
    even = all(abs(step - steps[0]) <= _EVEN * abs(steps[0]) for step in steps)
    if even and all(level == int(level) for level in sigma):
        shown = ", ".join(f"{level:g}" for level in sigma[:3])
        return f"sigma looks like timesteps or percentages ({shown}, ...); send sqrt((1 - a) / a) with a = alphas_cumprod of the timestep"
    if even and min(sigma) >= 0 and max(sigma) <= 1:
        return "sigma looks like a time, evenly spaced in [0, 1]; send noise-to-signal ratios, t / (1 - t) for flow models"
    bad = next((level for level in sigma if level <= 0), None)
    if bad is not None:
        return f"sigma has the value {bad:g}, and a noise level is positive; if these are ln sigma or log-SNR, send exp(ln sigma) itself"
    for (before, after), step in zip(pairwise(sigma), steps, strict=True):
        if step * steps[0] <= 0:
            return f"sigma is not in order: {after:g} follows {before:g}; sort the rows by sigma and send each level once"
    if max(sigma) / min(sigma) < RANGE_MIN:
        covered = f"sigma covers {min(sigma):g} to {max(sigma):g} only"
        return f"{covered}; measure the loss over the whole range that a sampler crosses, a factor of {RANGE_MIN:g} at least"
    return None


def _mistake_of_loss(sigma: Sequence[float], loss: Sequence[float]) -> str | None:
    for level, value in zip(sigma, loss, strict=True):
        if value < 0:
            return f"loss is {value:g} at sigma={level:g}; send E ||x_0 - D||^2, which is never negative"
    if max(loss) == min(loss):
        return f"loss is {loss[0]:g} at every sigma, which decides no schedule; measure it at each level"
    if loss[-1] < loss[0]:
        fell = f"the loss falls from {loss[0]:g} at sigma={sigma[0]:g} to {loss[-1]:g} at sigma={sigma[-1]:g}, and it rises with the noise"
        return (
            f"{fell}; send sigma = SNR^-0.5 if these are signal-to-noise ratios, sigma^2 times the loss if it is that of noise prediction"
        )
    top = 0
    for i in range(len(loss)):
        if loss[i] > loss[top]:
            top = i
        elif loss[i] < (1 - FALL_MAX) * loss[top]:
            remedy = "average over more samples, or leave out the levels where the network contradicts itself"
            return f"{_fall(sigma, loss, top, i)}; {remedy}"
    return None


def _fall(sigma: Sequence[float], loss: Sequence[float], start: int, end: int) -> str:
    where = f"from {loss[start]:g} at sigma={sigma[start]:g} to {loss[end]:g} at sigma={sigma[end]:g}"
    return f"the loss falls {where}, and that of a denoiser rises with the noise"
