"""`python -m worker.process.local`: one request, answered without Redis.

Reads a `JobRequest`, or a `CurveRequest`, from standard input and writes JSON lines to standard output: `{"progress": ...}` as it
goes, at the end `{"schedule": ...}` or `{"error": text, "bad_input": bool}`. Exit status 0 with a schedule, 1 with an error.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ays_client.contract import JobRequest, ProfileInfo, Progress, Schedule
from ays_client.curve import CurveRequest
from worker.ays.denoise import DenoiserError
from worker.models.errors import ModelError
from worker.models.limits import LARGEST_MODEL
from worker.models.registry import Registry
from worker.tasks.measure import RangeError
from worker.tasks.outcome import Outcome
from worker.tasks.pipeline import optimize


class LocalHost:
    """Where the pipeline runs: nothing is kept, progress goes to standard output."""

    def report(self, progress: Progress) -> None:
        """Write the progress down."""
        _write({"progress": progress.model_dump(mode="json")})

    def gather(self, shards: Sequence[str], measure: Callable[[str], str], *, arrived: Callable[[str], None]) -> dict[str, str]:
        """Shards are measured here, one after the other."""
        del arrived
        return {shard: measure(shard) for shard in shards}

    def checkpoint(self) -> str | None:
        """There was no earlier attempt."""
        return None

    def keep(self, checkpoint: str) -> None:
        """And there will be no later one."""

    def profile(self) -> ProfileInfo | None:
        """No profile is at hand."""
        return None

    def publish(self, profile: ProfileInfo, table: list[Schedule]) -> None:
        """Nobody else asks for them."""

    def validated(self) -> list[Schedule] | None:
        """Nor schedules of one, and a table would be thrown away."""
        return None


def main() -> int:
    """Answer one request; the exit status."""
    try:
        body = json.loads(sys.stdin.read())
        host = LocalHost()
        if "loss" in body:
            curve = CurveRequest.model_validate(body)
            return _answer(optimize(curve.request, curve.curve, host))
        request = JobRequest.model_validate(body)
        models_file = os.environ.get("AYS_MODELS")
        allow_hub = TypeAdapter(bool).validate_python(os.environ.get("AYS_ALLOW_HUB") or False)
        limit = int(os.environ.get("AYS_MODEL_MAX_BYTES") or LARGEST_MODEL)
        registry = Registry(Path(models_file) if models_file else None, allow_hub=allow_hub, limit=limit)
        if request.model not in registry.ids:
            known = ", ".join(registry.ids)
            return _fail(f"received the model {request.model!r}; expected one of {known}", bad_input=True)
        host.report(Progress(stage="loading"))
        return _answer(optimize(request, registry.load(request.model), host))
    except ValidationError as error:
        return _fail(str(error.errors(include_url=False)[0]["msg"]), bad_input=True)
    except RangeError as error:
        return _fail(str(error), bad_input=True)
    except (ModelError, DenoiserError) as error:
        return _fail(str(error), bad_input=False)
    except Exception as error:  # the last line of defence: whoever started us wants a line, the traceback goes to the log
        traceback.print_exc()
        return _fail(f"{type(error).__name__}: {error}", bad_input=False)


def _answer(outcome: Outcome) -> int:
    _write({"schedule": outcome.requested.model_dump(mode="json")})
    return 0


def _fail(message: str, *, bad_input: bool) -> int:
    _write({"error": message, "bad_input": bad_input})
    return 1


def _write(record: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(record, allow_nan=False) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
