"""Body of `GET /v1/schedules/{id}/samples`: what a schedule does to samples."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class SampleGrid(BaseModel):
    """Rows of samples from the same starting noises, none of which the optimizer has seen."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    schedule_id: str
    rows: list[Literal["stock", "ours", "fine"]] = Field(description="from the top; `fine` is the solution that the others aim at")
    stock: str = Field(description="name of the stock schedule in the first row: the best one where they were validated")
    errors: dict[Literal["stock", "ours"], float] = Field(
        description="mean over these noises of the squared distance to the fine solution; estimates come from many more noises"
    )
    noises: int = Field(description="samples in a row")
    height: int = Field(description="of one sample in the picture, in pixels")
    width: int
    evaluations: int = Field(description="evaluations of the denoiser that the picture cost")
    image: str = Field(description="PNG of all samples without gaps, as a data URL")
