"""The journal of a search: the results of its steps, kept with the job, so that a retried job computes none of them again.

A search is a sequence of steps, each of which depends on nothing but the request, the weights and the steps before it. A retried job
goes through the same sequence and takes from the journal what is there. Floats survive JSON, so it ends with the same bits.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeInt, ValidationError

from worker.ays.denoise import Evaluator
from worker.ays.noise import Array
from worker.tasks.stages import Host, Stages

_SCHEMA = 1
"""Counts the changes of what the steps are: what another number has written is not continued."""


class _Step(NamedTuple):
    values: list[FiniteFloat]
    evaluations: NonNegativeInt


class _Body(BaseModel):
    model_config = ConfigDict(strict=True)

    schema_version: int
    fingerprint: str
    steps: list[_Step]


class Journal:
    """The finished steps of a search, those of earlier attempts at the job first."""

    def __init__(self, host: Host, *, fingerprint: str, denoise: Evaluator, stages: Stages) -> None:
        """Read what an earlier attempt has left.

        Args:
            host: where it is kept.
            fingerprint: the weights; steps of others are of no use.
            denoise: counts what a step costs.
            stages: told what a step has cost an earlier attempt.
        """
        self._host, self._fingerprint, self._denoise, self._stages = host, fingerprint, denoise, stages
        self._steps = _steps(host.checkpoint(), fingerprint)
        self._next = 0
        self._spared = 0

    @property
    def evaluations(self) -> int:
        """Evaluations that have led here: of this attempt, and of the steps that earlier ones have finished."""
        return self._denoise.evaluations + self._spared

    def step(self, size: int, compute: Callable[[], Array]) -> Array:
        """Return the result of the next step, shape (size,): as it was recorded, else computed and recorded.

        Args:
            size: how many values it has; a record with any other number, and all that follow it, are of no use.
            compute: computes them.
        """
        if self._next < len(self._steps) and len(self._steps[self._next].values) == size:
            known = self._steps[self._next]
            self._spared += known.evaluations
            self._stages.elsewhere(known.evaluations)
        else:
            before = self._denoise.evaluations
            values = compute().tolist()
            known = _Step(values, self._denoise.evaluations - before)
            self._steps = [*self._steps[: self._next], known]
            self._host.keep(_Body(schema_version=_SCHEMA, fingerprint=self._fingerprint, steps=self._steps).model_dump_json())
        self._next += 1
        return np.array(known.values, dtype=np.float64)


def _steps(body: str | None, fingerprint: str) -> list[_Step]:
    try:
        found = None if body is None else _Body.model_validate_json(body)
    except ValidationError:
        return []
    return found.steps if found is not None and (found.schema_version, found.fingerprint) == (_SCHEMA, fingerprint) else []
