"""The wire contract, version 2: every JSON body that crosses HTTP or Redis, as pydantic models.

Noise levels are noise-to-signal ratios `sigma` in VE coordinates (`x = x_0 + sigma eps`), whatever the model's own process;
a schedule has `steps + 1` of them, strictly decreasing, the last one `sigma_min` or 0 as `terminal` says.
"""

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ays_client.solvers import CARDS
from ays_client.solvers import Solver as Solver

CONTRACT_VERSION = 2
"""Version of the bodies; part of every identity, so a change never serves an answer computed under other rules."""

NFE_MIN, NFE_MAX = 2, 64
"""Range of evaluations of the denoiser that a schedule may spend."""


class Terminal(StrEnum):
    """Where the last step ends: at noise level 0 (it returns the denoised sample) or at `sigma_min`."""

    ZERO = "zero"
    SIGMA_MIN = "sigma_min"


class Effort(StrEnum):
    """How much validation is spent on the requested cell.

    `fast`: the profile's optimum, compared with stock schedules on the profile's own paths; for the fitted solver two thirds of a thousand
    evaluations. `standard`: a search of about 12,000 evaluations (the fitted solver: 3,900), and a report. `max`: five times that.
    """

    FAST = "fast"
    STANDARD = "standard"
    MAX = "max"


class Method(StrEnum):
    """How a schedule is found.

    `profile`: exact minimization on one measured profile. `paper`: the search of Align Your Steps as published (with the normalizer
    that the printed algorithm forgets), one schedule for all solvers. `entropic`: even steps of rescaled entropic time, from a loss
    curve.
    """

    PROFILE = "profile"
    PAPER = "paper"
    ENTROPIC = "entropic"


class Priority(StrEnum):
    """How urgent a job is.

    `interactive`: somebody waits for it. `batch`: it may wait for others; while there are interactive jobs it gets one turn to eight
    of theirs.
    """

    INTERACTIVE = "interactive"
    BATCH = "batch"


class JobState(StrEnum):
    """State of a job: `queued -> running -> succeeded | failed | canceled`; `lost` while its worker's heartbeat is overdue."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    LOST = "lost"

    @property
    def final(self) -> bool:
        """Whether a job in this state is never worked on again."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED}


class Source(StrEnum):
    """How the levels of a schedule came about."""

    OPTIMIZED = "optimized"
    INTERPOLATED = "interpolated"
    PUBLISHED = "published"
    STOCK = "stock"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


ModelId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", examples=["digits"])]
Sigma = Annotated[float, Field(gt=0, le=1e6)]


class Variant(_Body):
    """What a profile depends on: the model and how it is measured. Two requests with equal variants share one profile."""

    model: ModelId
    sigma_min: Sigma | None = Field(None, description="lowest noise level; null: the model's own")
    sigma_max: Sigma | None = Field(None, description="highest noise level; null: the model's own")
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = Field(None, description="null: the model's own")
    grid: Annotated[int, Field(ge=16, le=256)] = Field(64, description="noise levels of the profile, G")
    paths: Annotated[int, Field(ge=2, le=4096)] | Literal["auto"] = Field("auto", description="paths of the profile, M; auto: 16")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.sigma_min is not None and self.sigma_max is not None and self.sigma_min >= self.sigma_max:
            msg = f"sigma_min={self.sigma_min} is not below sigma_max={self.sigma_max}; swap them or leave both out"
            raise ValueError(msg)
        return self


CURVE_PREFIX = "curve-"
"""Beginning of the id of a loss curve, which is asked for like a model."""

BOUND_OF_A_CURVE = (Solver.SDDIM, Solver.DDPM, Solver.EULER_ANCESTRAL)
"""Names of the first-order stochastic method, whose bound a loss curve decides."""

OF_A_CURVE = (*BOUND_OF_A_CURVE, Solver.DDIM, Solver.EULER)
"""Solvers that a curve is served for: the last ones borrow the schedule of the first."""


def is_curve(model_id: str) -> bool:
    """Whether an id is that of a loss curve."""
    return model_id.startswith(CURVE_PREFIX)


class Target(Variant):
    """Which schedule is meant: a variant, a method, and the cell of its table."""

    method: Method = Method.PROFILE

    nfe: Annotated[int, Field(ge=NFE_MIN, le=NFE_MAX)] = Field(description="evaluations of the denoiser per sample")
    solver: Solver = Solver.DPMPP_2M
    terminal: Terminal = Terminal.ZERO

    @model_validator(mode="after")
    def _evaluations(self) -> Self:
        if not CARDS[self.solver].fits(self.nfe):
            near = " or ".join(str(nfe) for nfe in (self.nfe - 1, self.nfe + 1) if NFE_MIN <= nfe <= NFE_MAX)
            msg = f"nfe={self.nfe} does not fit {self.solver.value}, which spends 2 steps - 1 evaluations; ask for {near}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _curve(self) -> Self:
        curve = is_curve(self.model)
        if curve and self.solver not in OF_A_CURVE:
            msg = f"solver={self.solver.value} needs more of a model than its loss curve; ask for {OF_A_CURVE[0].value}"
            raise ValueError(msg)
        if curve and self.method is Method.PAPER:
            msg = "method=paper runs the model, and a loss curve has none; ask for method=profile or method=entropic"
            raise ValueError(msg)
        if not curve and self.method is Method.ENTROPIC:
            msg = f"method=entropic is for loss curves, and {self.model} is a model; POST its curve to /v1/curves"
            raise ValueError(msg)
        return self

    @property
    def variant(self) -> Variant:
        """The part that the profile depends on."""
        return Variant(**self.model_dump(include=set(Variant.model_fields)))

    @property
    def steps(self) -> int:
        """Number of steps that spend `nfe` evaluations with this solver."""
        return CARDS[self.solver].steps(self.nfe)


class PaperOptions(_Body):
    """The numbers of `method=paper`; in brackets what the paper used where it says so."""

    samples: Annotated[int, Field(ge=16, le=65536)] = Field(128, description="samples of an estimate of the bound (8192)")
    candidates: Annotated[int, Field(ge=3, le=51)] = Field(11, description="candidates for a level, odd: itself and its sides (11)")
    neighbourhood: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of the gap in ln sigma to the next level, on either side, that the candidates span (not stated)"
    )
    sweeps: Annotated[int, Field(ge=1, le=300)] = Field(12, description="largest number of sweeps over the ten-step schedule (300)")
    patience: Annotated[int, Field(ge=1, le=300)] = Field(3, description="sweeps without a smaller validation error that end the search")
    midpoint_sweeps: Annotated[int, Field(ge=1, le=300)] = Field(2, description="largest number of sweeps after each halving of steps")
    c: Annotated[float, Field(ge=1e-3, le=1e3)] = Field(0.5, description="standard deviation of the importance sampling's Gaussian (0.5)")

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.candidates % 2 == 0:
            msg = f"candidates={self.candidates} is even; ask for {self.candidates - 1} or {self.candidates + 1}"
            raise ValueError(msg)
        return self


class JobRequest(Target):
    """What a job is asked for. All of it decides the answer; its content address is the job's id."""

    detail: Literal["auto"] | Annotated[float, Field(ge=0, le=4)] = Field(
        "auto", description="exponent p of the weight sigma^p: 0 is the paper's bound, 2 the error of the sample; auto validates"
    )
    effort: Effort = Effort.STANDARD
    paper: PaperOptions | None = Field(None, description="options of method=paper; null: the defaults")

    @model_validator(mode="after")
    def _options(self) -> Self:
        if self.method is not Method.PAPER and self.paper is not None:
            msg = f"paper holds options of method=paper, and method={self.method.value}; leave paper out or set method=paper"
            raise ValueError(msg)
        if self.method is not Method.PROFILE and self.detail != "auto":
            msg = f"method={self.method.value} knows no detail; leave detail out"
            raise ValueError(msg)
        if self.solver is Solver.FITTED and self.detail != "auto":
            msg = f"detail={self.detail:g} is a weight of fixed solvers' errors, and solver=fitted fits its own weights; leave detail out"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _levels(self) -> Self:
        if self.method is Method.PROFILE and self.steps > self.grid:
            msg = f"received nfe={self.nfe}, which is {self.steps} steps, for a profile of grid={self.grid} noise levels; "
            msg += f"expected at most one step for each level; ask for grid={self.steps} or more, or for fewer evaluations"
            raise ValueError(msg)
        return self

    @property
    def chosen(self) -> bool:
        """Whether somebody chose how it is computed: then the answer is for this request alone, not for a lookup."""
        return self.detail != "auto" or self.paper is not None


def identity(body: BaseModel) -> str:
    """Content address of a body: 32 hex digits of the SHA-256 of its canonical JSON and the contract version."""
    return address(body.model_dump(mode="json"))


def address(content: object) -> str:
    """The same of a body's plain JSON."""
    canonical = json.dumps([CONTRACT_VERSION, content], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


class Progress(_Body):
    """Where a running job is."""

    stage: Literal["waiting", "loading", "profile", "sweep", "subdivide", "table", "guard", "validate", "report", "store"]
    done: int = 0
    total: int = 0
    evaluations: int = Field(0, description="evaluations of the denoiser so far, one per sample and level")
    evaluations_per_second: float = 0.0
    eta_seconds: float | None = Field(None, description="estimated remaining time of this stage")


class Job(_Body):
    """A job as the API shows it."""

    id: str
    state: JobState
    request: JobRequest
    priority: Priority = Priority.INTERACTIVE
    progress: Progress
    created_at: float = Field(description="seconds since 1970-01-01 UTC")
    started_at: float | None = None
    finished_at: float | None = None
    attempts: int = 0
    error: str | None = Field(None, description="why it failed, in words for the person who asked")
    schedule_id: str | None = None
    schedule_url: str | None = None
    live_workers: int = Field(0, description="workers with a fresh heartbeat; 0 means nobody will take a queued job")


class Event(_Body):
    """One server-sent event of a job: a state, or progress within a state."""

    state: JobState
    progress: Progress
    error: str | None = None
    schedule_url: str | None = None


Interval = Annotated[tuple[float, float], Field(description="95 % confidence interval [low, high]")]


class Estimate(_Body):
    """A Monte-Carlo estimate of a mean.

    Attributes:
        mean: the mean over the noise samples.
        standard_error: its standard error.
        interval: 95 % confidence interval of the mean; null where it is known by its standard error alone.
        median: the median over the noise samples, beside a mean that a few of them may carry.
    """

    mean: float
    standard_error: float
    interval: Interval | None = None
    median: float | None = None


class Ratio(_Body):
    """A ratio of two means over the same noise samples, with the 95 % confidence interval of that ratio."""

    value: float
    interval: Interval


class Error(_Body):
    """Mean squared distance of a sample, summed over its dimensions, to the reference from the same starting noise.

    All of it comes from the report's noise samples, which took part in no choice.
    """

    ours: Estimate
    stock: dict[str, Estimate] = Field(description="the same for the stock schedules at this NFE")
    noises: int = Field(description="number of the report's starting noises; no choice depended on any of them")
    best_stock: str | None = Field(
        None, description="stock schedule with the smallest validation error, the one that `ratio` compares with"
    )
    best_stock_sigmas: list[float] | None = Field(None, description="levels of that schedule; null in answers of earlier versions")
    ratio: Ratio | None = Field(
        None, description="mean error, ours over the best stock schedule's, on the same noises; null: that has none"
    )
    median_ratio: float | None = Field(None, description="median over noises of the same ratio")
    reference_error: float | None = Field(None, description="mean squared error of the reference itself, by Richardson's estimate")
    psnr_db: float | None = Field(None, description="peak signal-to-noise ratio against the reference in dB; null: unknown range of data")
    equivalent_nfe: dict[Literal["stock", "fixed"], float] | None = Field(
        None,
        description="evaluations for the same error with the best stock schedule and, of a fitted answer, with the best fixed solver on "
        "its own schedule; at most 64, which then stands for more",
    )


class Klub(_Body):
    """KL upper bound (exponent p = 0) of the schedule and of the stock schedules, from the profile, with its standard error."""

    ours: Estimate
    stock: dict[str, Estimate]


class Sweep(_Body):
    """The ten-step schedule of `method=paper` after a sweep; the first entry is the start."""

    sigmas: list[float]
    bound: Estimate = Field(description="the bound of stochastic DDIM, estimated from the samples of the search")
    error: Estimate = Field(description="validation error that decides which sweep is kept")
    kept: bool


class Range(_Body):
    """A range of noise levels."""

    sigma_min: float
    sigma_max: float


class Provenance(_Body):
    """Where a schedule comes from, enough to compute it again."""

    method: Method = Method.PROFILE
    profile: str | None = Field(None, description="id of the profile")
    detail: float | None = Field(None, description="exponent p of the weight (sigma^-2 + knee^-2)^(-p/2) it was optimized for")
    knee: float | None = Field(None, description="noise level above which errors count alike; null: none")
    ratio_bound: float | None = Field(None, description="largest allowed h_i / h_(i-1); null: none")
    candidate: str | None = Field(None, description="the ladder's candidate that was kept, or the stock schedule's name")
    refined: bool = Field(False, description="whether a descent changed it")
    reason: str | None = Field(None, description="why a stock schedule is served in place of an optimized one; null otherwise")
    effort: Effort | None = None
    evaluations: int = Field(0, description="evaluations of its search, beside the profile's and the report's")
    report_evaluations: int = Field(0, description="evaluations of its error and of the stock schedules', on the report's noises")
    profile_evaluations: int = 0
    cost: Estimate | None = Field(None, description="its cost in the weight it was optimized for, with the standard error of the profile")
    regret: float | None = Field(
        None, description="what a schedule from half of the profile's paths costs more than the optimum of the other half, as a fraction"
    )
    stable: bool | None = Field(None, description="whether the regret is at most a fifth, about a tenth with all paths")
    contradictions: list[Range] = Field(
        default_factory=list, description="noise levels where the network cannot be the denoiser of one distribution of data"
    )
    seed: int = 0
    sweeps: list[Sweep] | None = Field(None, description="method=paper: the record of its search")
    code_version: str
    interpolated_from: str | None = None


class Schedule(_Body):
    """A sampling schedule: the answer."""

    id: str
    model: ModelId
    fingerprint: str = Field(description="identity of the weights and of what is measured with them")
    kind: Literal["ve", "vp", "edm", "flow"]
    nfe: int
    steps: int
    solver: Solver
    terminal: Terminal
    sigmas: list[float] = Field(description="steps + 1 levels, strictly decreasing; the last one sigma_min or 0")
    t: list[float] | None = Field(None, description="flow models: sigma / (1 + sigma), in [0, 1]")
    timesteps: list[float] = Field(description="the model's native time of the levels it is evaluated at, `steps` floats")
    timesteps_int: list[int] | None = Field(None, description="rounded, strictly decreasing; null where rounding collides")
    sigma_min: float
    sigma_max: float
    prediction_type: str | None = None
    guidance_scale: float | None = None
    weights: list[list[float]] | None = Field(
        None,
        description="solver fitted: for each step the weights of the last evaluations of the denoiser, newest first, which sum to 1; "
        "null for every other solver",
    )
    source: Source
    validated: bool
    error: Error | None = None
    klub: Klub | None = None
    provenance: Provenance
    formats: dict[str, str] = Field(default_factory=dict, description="links to the same levels in other tools' formats")


class ProfileInfo(_Body):
    """A measured profile: the second moments of the denoiser on a grid of levels, one matrix per path measure."""

    id: str
    variant: Variant
    fingerprint: str
    levels: list[float] = Field(description="G levels, strictly decreasing")
    paths: int
    evaluations: int
    seconds: float
    loss: list[float] | None = Field(None, description="forward measure: E ||D(x_sigma, sigma) - x_0||^2 at each level")
    moments: dict[Literal["flow", "forward"], list[list[float]]] = Field(description="K = E <r_g, r_h>, G x G, per path measure")
    standard_errors: dict[Literal["flow", "forward"], list[list[float]]]
    origin: dict[Literal["flow", "forward"], list[float]] = Field(
        default_factory=dict,
        description="the same moments with the mean in place of the denoiser, G, then its own: what a start below sigma_max costs",
    )
    groups: dict[Literal["flow", "forward"], list[list[float]]] = Field(
        default_factory=dict,
        description="lower triangles of the moments of up to four groups of paths, the origin last, for standard errors of costs",
    )
    contradictions: list[Range] = Field(
        default_factory=list, description="noise levels where the network cannot be the denoiser of one distribution of data"
    )
    created_at: float


class Model(_Body):
    """A model that can be asked for."""

    id: ModelId
    title: str
    kind: Literal["ve", "vp", "edm", "flow"] | None = Field(None, description="null until a worker has loaded it")
    shape: list[int] | None = None
    sigma_min: float | None = None
    sigma_max: float | None = None
    prediction_type: str | None = None
    guidance_scale: float | None = None
    fingerprint: str | None = None
    published: str | None = Field(None, description="name of the published table that serves this model until a job has optimized it")
    profile_state: Literal["none", "measuring", "ready"] = "none"
    profile_id: str | None = None
    schedules: int = Field(0, description="cached schedules")


class Problem(BaseModel):
    """An RFC 9457 problem: what was received, what is expected, and how to fix it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    received: object | None = None
    expected: str | None = None
    fix: str | None = None
    instance: str | None = None
