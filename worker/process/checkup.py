"""`python -m worker.process.checkup`: what a worker would find if it started here; one JSON object a line, for `ays doctor`."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from ays_process.environment import ConfigurationError, variables_of
from ays_process.finding import Finding, fail, ok, warn
from worker.process.settings import Settings, load_settings

if TYPE_CHECKING:
    from worker.process.device import Gpu


def findings() -> Iterator[Finding]:
    """Looks at the environment, the models and the device."""
    try:
        settings = load_settings()
    except ConfigurationError as error:
        for line in str(error).splitlines():
            yield fail("worker", line, "correct the variable; docs/api.md lists them all")
        return
    yield ok("worker", "its environment configures a worker")
    yield from _models(settings)
    yield _device(settings)


def _models(settings: Settings) -> Iterator[Finding]:
    # Here and not above: they import torch, which is the first thing that may be missing.
    from worker.models.errors import ModelError
    from worker.models.registry import Registry

    where = str(settings.models) if settings.models else "no models file, the bundled models only"
    try:
        cards = Registry(settings.models, allow_hub=settings.allow_hub, limit=settings.model_max_bytes).cards()
    except ModelError as error:
        yield fail("models", str(error), f"correct {where}")
    else:
        yield ok("models", f"{where}: {', '.join(card.id for card in cards)}")


def _device(settings: Settings) -> Finding:
    from worker.process.device import DeviceError, gpu

    try:
        found = gpu()
    except DeviceError as error:
        return fail("device", error.seen, error.fix)
    return _cpu(settings.threads) if found is None else _gpu(found)


def _gpu(found: "Gpu") -> Finding:
    import torch

    seen = f"torch {torch.__version__} on {found.name}, {found.free / 2**30:.1f} of {found.total / 2**30:.1f} GiB free"
    if found.free > found.total / 4:
        return ok("device", seen)
    return warn("device", seen, "end what else uses it, or lower AYS_WARM_MODELS")


def _cpu(threads: int) -> Finding:
    import torch

    seen = f"torch {torch.__version__} on the CPU, {threads} threads"
    if torch.version.cuda is None:
        return ok("device", f"{seen}; this build of torch has no CUDA")
    return warn(
        "device", f"{seen}, although this torch is built for CUDA {torch.version.cuda}", "pass a GPU and its driver to it, if there is one"
    )


def main() -> int:
    """Prints the findings."""
    variables = sorted(variables_of(Settings))
    sys.stdout.write(json.dumps({"variables": variables}) + "\n")
    for finding in findings():
        sys.stdout.write(json.dumps(asdict(finding)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
