"""`python -m tests.fuzz [--seed N] [--minutes N]`: damages all that is read back, until the time is over."""

import argparse
import logging
import secrets
import sys
import tempfile
import time
from pathlib import Path

from redis import Redis

from service.local.embedded_redis import EmbeddedRedis
from tests.fuzz.campaign import campaign
from tests.fuzz.files import damaged_files
from tests.fuzz.stored import KINDS


def main() -> int:
    """Runs until the time is over; 1 when something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--minutes", type=float, default=10.0)
    asked = parser.parse_args()
    # What is left out of lists is told by every process that reads them, this one included.
    logging.getLogger("ays_store.damage").setLevel(logging.ERROR)
    end, seed, rounds = time.monotonic() + 60 * asked.minutes, asked.seed, 0
    print(f"seed {seed}: {len(KINDS)} kinds of keys", flush=True)
    with tempfile.TemporaryDirectory() as name, EmbeddedRedis(Path(name) / "redis") as server:
        redis = Redis.from_url(server.url)
        while time.monotonic() < end:
            wrong = campaign(redis, server.url, Path(name) / "log", rounds=3, seed=seed + rounds)
            wrong += damaged_files(Path(name), rounds=200, seed=seed + rounds)
            rounds += 3
            if wrong:
                print("\n".join(wrong), file=sys.stderr)
                print(f"{len(wrong)} faults with --seed {seed + rounds - 3}", file=sys.stderr)
                return 1
            print(f"{rounds} rounds, each kind of key damaged {rounds} times: nothing wrong", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
