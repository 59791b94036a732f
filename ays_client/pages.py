"""Bodies of the lists: `GET /v1/jobs`, `GET /v1/models` and `GET /v1/profiles/{id}/schedules`."""

from pydantic import BaseModel, ConfigDict, Field

from ays_client.contract import Error, Job, Model, Solver, Source, Terminal


class JobPage(BaseModel):
    """One page of jobs, the newest first."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    jobs: list[Job]
    next_cursor: str | None = Field(None, description="value of `cursor` for the next page; null: this is the last one")


class ModelList(BaseModel):
    """One page of the models that can be asked for."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    models: list[Model]
    next_cursor: str | None = Field(None, description="value of `cursor` for the next page; null: this is the last one")
    live_workers: int = Field(0, description="workers with a fresh heartbeat; 0 means that nobody will take a job")


class RowCell(BaseModel):
    """A cached schedule in a row of the table, in short."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    nfe: int
    schedule_id: str
    sigmas: list[float]
    source: Source
    validated: bool
    error: Error | None
    detail: float | None
    knee: float | None
    ratio_bound: float | None
    refined: bool
    candidate: str | None
    samples: bool = Field(description="whether samples were drawn with it: GET /v1/schedules/{id}/samples")


class Row(BaseModel):
    """The schedules of a profile for one solver and terminal, by rising number of evaluations; a page of them, if that was asked for."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    profile_id: str
    solver: Solver
    terminal: Terminal
    cells: list[RowCell]
    next_cursor: str | None = Field(None, description="value of `cursor` for the next page; null: this is the last one")
