"""A worker of the real shell, or its computing process, whose model and mathematics are toys, steered through Redis:

python -m tests.worker_shell.toy [NAME KEEPER]
"""

import os
import signal
import sys
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

from ays_client.contract import Effort, Model, Progress, identity
from ays_process.logs import configure_logs
from ays_store import connect
from tests.store.bodies import profile, schedule, validated
from worker.models.errors import ModelError
from worker.settings import QUIET, load_settings
from worker.shell import Shell

LOG = "toy:log"
"""What was done, one entry per load, step and answer."""

GATE = "toy:gate"
"""The number of steps that may be done; a computation waits for it, reporting."""

HOLD = "toy:hold"
"""While it is there, the model `late` holds back what it has computed."""

MODELS = ["toy", "broken", "wrong", "device", "stuck", "killer", "memory", "late"]


class AcceleratorError(RuntimeError):
    """Named like torch's."""


@dataclass(frozen=True)
class ToyModel:
    id: str
    title: str = "A toy"
    fingerprint: str = "f0"
    prediction_type: str | None = None
    published: str | None = None
    guidance_scale: float | None = None
    process: object = field(default_factory=lambda: SimpleNamespace(kind="ve"))
    denoiser: object = field(default_factory=lambda: SimpleNamespace(shape=(2,), sigma_min=0.002, sigma_max=80.0))


def load(model_id):
    redis.rpush(LOG, f"load {model_id}")
    if model_id == "broken":
        what = f"model {model_id!r}"
        raise ModelError.of(what, received="nothing", expected="weights", fix="train it")
    return ToyModel(model_id)


def compute(request, model, host):
    if model.id == "wrong":
        return 1 / 0
    if model.id == "device":
        msg = "CUDA error: device-side assert triggered"
        raise AcceleratorError(msg)
    if model.id == "killer":
        os.kill(os.getpid(), signal.SIGKILL)
    if model.id == "memory":
        raise MemoryError
    if model.id == "stuck":
        redis.rpush(LOG, "stuck")
        while True:
            time.sleep(0.01)
    done = host.shards()
    for step in range(request.paths):
        while int(redis.get(GATE) or 0) <= step:
            host.report(Progress(stage="profile", done=step, total=request.paths))
            time.sleep(0.01)
        if f"[{step}]" not in done:
            redis.rpush(LOG, f"step {step}")
            host.keep_shard(str(step), f"[{step}]")
        host.report(Progress(stage="profile", done=step + 1, total=request.paths, evaluations=5 * (step + 1)))
    if model.id == "late":
        redis.rpush(LOG, "computed")
        while redis.exists(HOLD):
            time.sleep(0.01)
    cell = {"nfe": request.nfe, "solver": request.solver, "terminal": request.terminal}
    requested = schedule(effort=Effort.FAST, **cell) if request.effort is Effort.FAST else validated(effort=request.effort, **cell)
    measured = None if host.profile() else profile(request.variant)
    assert measured is None or measured.id == identity(request.variant)
    return SimpleNamespace(profile=measured, schedules=[schedule(nfe=nfe) for nfe in range(2, 9)], requested=requested, samples=None)


if __name__ == "__main__":
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format, quiet=QUIET)
    redis = connect(settings.redis_url, patient=True)
    models = [Model(id=name, title=name) for name in MODELS]
    name, keeper = (sys.argv[1], int(sys.argv[2])) if sys.argv[1:] else (settings.new_name(), None)
    shell = Shell(settings, name=name, keeper=keeper, models=models, load=load, compute=compute, device="toy")
    sys.exit(shell.run())
