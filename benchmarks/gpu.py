"""What a GPU buys: evaluations a second of the bundled fashion network, and seconds of a whole job, beside the same machine's CPU.

`python -m benchmarks.gpu` on a machine with a CUDA device prints two tables for docs/models.md. Evaluations are those that jobs make,
through the evaluator that keeps paths in float64 on the CPU. Networks are compiled for one size of batch before the clock starts; what that
takes is a column of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import torch

from ays_client.contract import JobRequest
from benchmarks.hosts import Nowhere
from worker.ays.denoise import Evaluator
from worker.ays.paths import Stream, starting_noise
from worker.models.builtin import FASHION
from worker.models.diffusers_entry import DiffusersEntry
from worker.models.diffusers_model import load_diffusers
from worker.models.hub import Hub
from worker.models.registry import Registry
from worker.process.device import gpu
from worker.tasks.pipeline import BATCH, optimize

KINDS = {
    "float32": FASHION,
    "bfloat16": replace(FASHION, precision="bfloat16"),
    "float16": replace(FASHION, precision="float16"),
    "float32, compiled": replace(FASHION, compile=True),
    "bfloat16, compiled": replace(FASHION, compile=True, precision="bfloat16"),
    "float32, CUDA graphs": replace(FASHION, compile=True, compile_backend="cudagraphs"),
}
MODELS = ("digits", "fashion")
NFE = 10

_SAMPLES = 4 * BATCH
_LEVEL = 1.0


def device_name() -> str:
    """The GPU, or the CPU with its threads."""
    found = gpu()
    return found.name if found else f"CPU, {torch.get_num_threads()} threads"


def rate(entry: DiffusersEntry, *, seconds: float) -> tuple[float, float]:
    """Evaluations a second of a network, and the seconds until its first batches were done.

    Args:
        entry: the network, its precision and how it is compiled.
        seconds: how long the clock runs at least.
    """
    denoiser = load_diffusers(entry, Hub(allowed=False)).denoiser
    noise = starting_noise(denoiser.shape, range(_SAMPLES), seed=0, stream=Stream.FRESH)
    x, sigma = _LEVEL * noise, torch.full((_SAMPLES,), _LEVEL, dtype=torch.float64)
    denoise = Evaluator(denoiser, batch=BATCH)
    began = time.perf_counter()
    denoise(x[: 2 * BATCH + 1], sigma[: 2 * BATCH + 1])
    denoise(x, sigma)
    ready, before, started = time.perf_counter() - began, denoise.evaluations, time.perf_counter()
    while time.perf_counter() - started < seconds:
        denoise(x, sigma)
    return (denoise.evaluations - before) / (time.perf_counter() - started), ready


def job(model: str) -> tuple[float, int]:
    """Seconds of a `standard` job with its profile, its model loaded already, and the evaluations it took."""
    loaded, request = Registry(None).load(model), JobRequest(model=model, nfe=NFE)
    started = time.perf_counter()
    outcome = optimize(request, loaded, Nowhere())
    provenance = outcome.requested.provenance
    return time.perf_counter() - started, provenance.evaluations + provenance.profile_evaluations


def print_jobs() -> None:
    """Answer each model's request on the device there is; one JSON line each."""
    for model in MODELS:
        seconds, evaluations = job(model)
        print(json.dumps([model, seconds, evaluations]), flush=True)


def jobs(*, hidden: bool, limit: float) -> dict[str, tuple[float, int]]:
    """The same in a process of its own, by model; those that took longer than the limit are left out.

    Args:
        hidden: whether the GPU is hidden from it.
        limit: seconds after which it is ended.
    """
    environment = os.environ | ({"CUDA_VISIBLE_DEVICES": ""} if hidden else {})
    command = [sys.executable, "-m", "benchmarks.gpu", "--jobs"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            lines, _ = process.communicate()
    return {model: (seconds, evaluations) for model, seconds, evaluations in map(json.loads, lines.splitlines())}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each network is timed")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds after which the jobs of a device are ended")
    parser.add_argument("--jobs", action="store_true", help="answer the requests here and print JSON")
    args = parser.parse_args()
    if args.jobs:
        print_jobs()
        return
    print(f"{device_name()}, torch {torch.__version__}\n\n| fashion, batches of {BATCH} | evaluations/s | seconds to the first |")
    print("|---|---|---|")
    for name, entry in KINDS.items():
        per_second, ready = rate(entry, seconds=args.seconds)
        print(f"| {name} | {per_second:,.0f} | {ready:.1f} |", flush=True)
    print(f"\n| `standard` job, NFE {NFE} | seconds on the GPU | evaluations | seconds on the CPU, {os.cpu_count()} cores |")
    print("|---|---|---|---|", flush=True)
    here, there = jobs(hidden=False, limit=args.limit), jobs(hidden=True, limit=args.limit)
    for model in MODELS:
        seconds, evaluations = here.get(model, (float("nan"), 0))
        cpu = f"{there[model][0]:.1f}" if model in there else f"more than {args.limit:g} for all models"
        print(f"| {model} | {seconds:.1f} | {evaluations:,} | {cpu} |", flush=True)


if __name__ == "__main__":
    main()
