"""`ays doctor`: what is right, what will go wrong, what is wrong, and what to do."""

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from ays_process.finding import Verdict
from service.cli.exits import ExitCode
from service.doctor import examine


def doctor(*, url: str, data: Path, as_json: bool) -> ExitCode:
    """Print a line for everything that was looked at.

    Args:
        url: address of the service.
        data: folder of the embedded Redis.
        as_json: print JSON objects.

    Returns:
        `UNHEALTHY` when something fails.
    """
    verdicts: Counter[Verdict] = Counter()
    for finding in examine(url=url, data=data):
        verdicts[finding.verdict] += 1
        fix = f"\n{'':18}-> {finding.fix}" if finding.fix else ""
        line = json.dumps(asdict(finding)) if as_json else f"{finding.verdict.value:<5} {finding.about:<12}{finding.seen}{fix}"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    sys.stderr.write(", ".join(f"{verdicts[verdict]} {verdict.value}" for verdict in Verdict) + "\n")
    return ExitCode.UNHEALTHY if verdicts[Verdict.FAIL] else ExitCode.OK
