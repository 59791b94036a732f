"""Bodies of the lists: `GET /v1/jobs` and `GET /v1/models`."""

from pydantic import BaseModel, ConfigDict, Field

from ays_client.contract import Job, Model


class JobPage(BaseModel):
    """One page of jobs, the newest first."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    jobs: list[Job]
    next_cursor: str | None = Field(None, description="value of `cursor` for the next page; null: this is the last one")


class ModelList(BaseModel):
    """The models that can be asked for."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    models: list[Model]
