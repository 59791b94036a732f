"""Files that others hand us, damaged: curves, models files, what the client keeps on disk, what a service answers it."""

import importlib.util
import random

from pydantic import ValidationError

from ays_client.contract import Job, Schedule, Target
from ays_client.curve import CurveRequest
from ays_client.snapshots import Snapshot, Snapshots
from service.cli.curve import read_curve
from service.cli.exits import CommandError
from tests.client.schedules import schedule
from tests.fuzz.mutate import mutated_bytes, mutated_json

CURVE = "sigma,loss\n# a comment\n" + "".join(f"{0.01 * 2**step},{0.1 * 1.5**step}\n" for step in range(10))
MODELS = """
[models.two-moons]
kind = "factory"
factory = "factory_model:two_moons"
title = "Two moons"

[models.small]
kind = "diffusers"
path = "small"
"""
SNAPSHOT = Snapshot(etag='"x"', schedule=schedule()).model_dump_json()


def damaged_files(folder, *, rounds, seed):
    """Read damaged files so many times; returns what was raised that is no clear error."""
    rng, wrong = random.Random(seed), []
    for _ in range(rounds):
        for read, raw, refusals in _files(folder):
            damaged = mutated_json(rng, raw) if raw[:1] == b"{" and rng.random() < 0.7 else mutated_bytes(rng, raw)
            try:
                read(damaged)
            except refusals:
                pass
            except Exception as error:
                wrong.append(f"{read.__name__}: {error!r} for {damaged[:200]!r}")
    return wrong


def _files(folder):
    """Each reader, a good file, and the errors that are clear."""
    (folder / "files").mkdir(exist_ok=True)

    def curve(raw):
        (folder / "files" / "curve.csv").write_bytes(raw)
        CurveRequest.model_validate(read_curve(folder / "files" / "curve.csv"))

    def snapshot(raw):
        (folder / "files" / "key.json").write_bytes(raw)
        Snapshots(folder / "files").read("key", Target(model="toy", nfe=4))

    yield curve, CURVE.encode(), (CommandError, ValidationError)
    yield snapshot, SNAPSHOT.encode(), ()
    yield Schedule.model_validate_json, schedule().model_dump_json().encode(), ValidationError
    yield Job.model_validate_json, b'{"id": "x", "state": "queued"}', ValidationError
    if importlib.util.find_spec("torch"):
        yield from _of_worker(folder)


def _of_worker(folder):
    from worker.models.errors import ModelError
    from worker.models.registry import Registry

    def models(raw):
        (folder / "files" / "models.toml").write_bytes(raw)
        Registry(folder / "files" / "models.toml").cards()

    yield models, MODELS.encode(), ModelError
