"""A worker of the real shell, or its computing process, whose model and mathematics are toys, steered through Redis:

python -m tests.worker.toy [NAME SUPERVISOR]
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
from worker.process.settings import QUIET, load_settings
from worker.process.shell import Shell

LOG = "toy:log"
"""What was done, one entry per load, step and answer."""

GATE = "toy:gate"
"""The number of steps that may be done; a computation waits for it, reporting."""

HOLD = "toy:hold"
"""While it is there, the model `late` holds back what it has computed."""

MODELS = ["toy", "broken", "wrong", "device", "stuck", "killer", "memory", "late", "shared"]

FAILING, DEADLY = 13, 14
"""Seeds of requests that helpers fail at, or die of."""


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


def step(shard, wait):
    """One step of a measurement, when the gate is open for it."""
    number = shard.split("-")[0]
    while int(redis.get(GATE) or 0) <= int(number):
        wait()
        time.sleep(0.01)
    redis.rpush(LOG, f"step {number}")


def measure_shard(request, _model, shard, on_batch):
    redis.rpush(LOG, f"help {shard}")
    if request.seed == FAILING:
        return 1 / 0
    if request.seed == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    step(shard, lambda: on_batch(0))
    on_batch(5)
    return f"[{shard}]"


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
    done = iter(range(1, request.paths + 1))

    def measure(shard):
        step(shard, lambda: host.report(Progress(stage="profile", done=0, total=request.paths)))
        made = next(done)
        host.report(Progress(stage="profile", done=made, total=request.paths, evaluations=5 * made))
        return f"[{shard}]"

    shards = [f"{path}-{path + 1}" for path in range(request.paths)]
    # Helpers are called for all that is missing but one: where a shard is all there is, for none.
    for wanted in [shards] if model.id == "shared" else [[shard] for shard in shards]:
        if host.gather(wanted, measure, arrived=lambda shard: redis.rpush(LOG, f"arrived {shard}")) is None:
            break
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
    name, supervisor = (sys.argv[1], int(sys.argv[2])) if sys.argv[1:] else (settings.new_name(), None)
    shell = Shell(
        settings, name=name, supervisor=supervisor, models=models, load=load, compute=compute, measure_shard=measure_shard, device="toy"
    )
    sys.exit(shell.run())
