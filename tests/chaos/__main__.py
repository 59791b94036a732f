"""`python -m tests.chaos`: the campaign. Exit status 1 when something was lost, half-written or answered otherwise."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.campaign import Plan, run
from tests.chaos.table import table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--gap", type=float, default=1.6, help="mean seconds between two faults")
    parser.add_argument("--folder", type=Path, help="keep data and logs in this new folder")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="ays-chaos-"))
    report = run(Plan(seed=given.seed, faults=given.faults, gap=given.gap), folder, lambda text: print(text, file=sys.stderr))
    print(table(report))
    if report.good and given.folder is None:
        shutil.rmtree(folder)
    else:
        print(f"data and logs: {folder}", file=sys.stderr)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
