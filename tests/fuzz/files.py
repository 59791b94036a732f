"""Files and bodies that others hand us, damaged: archives, curves, models files, snapshots of the client, published tables."""

import io
import random
from pathlib import Path

from ays_client.contract import Schedule, Target
from ays_client.snapshots import Snapshot, Snapshots
from ays_store import ArchiveError, Store
from service.cli.curve import read_curve
from service.cli.exits import CommandError
from tests.fuzz.mutate import mutated_bytes, mutated_json
from tests.store.archives import exported, opened, sealed

CURVE = "sigma,loss\n# a comment\n" + "".join(f"{0.01 * 2**step},{0.1 * 1.5**step}\n" for step in range(10))
MODELS = """
[models.two-moons]
kind = "factory"
factory = "factory_model:two_moons"
title = "Two moons"

[models.small]
kind = "diffusers"
path = "small"
[models.small.conditions]
classes = 10
"""


def damaged_files(folder, *, rounds, seed):
    """Read damaged files so many times; returns what was raised that is no clear error."""
    rng, wrong = random.Random(seed), []
    for _ in range(rounds):
        for read, raw, refusals in _files(folder):
            damaged = mutated_bytes(rng, raw) if raw[:1] != b"{" or rng.random() < 0.3 else mutated_json(rng, raw)
            try:
                read(damaged)
            except refusals:
                pass
            except Exception as error:
                wrong.append(f"{read.__name__}: {error!r} for {damaged[:200]!r}")
    return wrong


def _files(folder):
    (folder / "files").mkdir(exist_ok=True)

    def curve(raw):
        path = folder / "files" / "curve.csv"
        path.write_bytes(raw)
        read_curve(path)

    def snapshot(raw):
        (folder / "files" / "key.json").write_bytes(raw)
        Snapshots(folder / "files").read("key", Target(model="toy", nfe=8))

    yield curve, CURVE.encode(), CommandError
    yield snapshot, SNAPSHOT, ()
    registry = _registry(folder)
    if registry is not None:
        yield registry, MODELS.encode(), REGISTRY_ERRORS


def _snapshot():
    from tests.client.schedules import schedule

    return Snapshot(etag='"x"', schedule=schedule()).model_dump_json().encode()
