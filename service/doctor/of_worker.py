"""What a worker would find here. It is asked in a process of its own: the service never imports torch."""

import importlib.util
import json
import subprocess
from collections.abc import Iterator, Mapping, Set

from ays_process.commands import module_command
from ays_process.environment import variables_of
from ays_process.finding import Finding, Verdict, fail, ok
from service.settings import Settings

_PATIENCE_SECONDS = 180.0
_OF_COMMANDS = frozenset({"AYS_URL", "AYS_DATA", "AYS_API_KEY", "AYS_API_KEY_FILE"})


def worker_checkup(environment: Mapping[str, str]) -> tuple[Set[str], Iterator[Finding]]:
    """Ask the worker, if one is installed.

    Args:
        environment: the variables that it would be given.

    Returns:
        The names of all variables that something reads, empty where no worker is installed to tell; and the worker's findings.
    """
    if importlib.util.find_spec("worker") is None or importlib.util.find_spec("torch") is None:
        return frozenset(), iter([ok("worker", "not installed here; workers run elsewhere")])
    command = module_command("worker.process.checkup")
    try:
        ended = subprocess.run(command, env=dict(environment), capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
        first, *lines = [json.loads(line) for line in ended.stdout.splitlines()]
    except (subprocess.TimeoutExpired, ValueError):
        return frozenset(), iter([fail("worker", f"`{' '.join(command)}` gives no answer", "run it by hand and read what it says")])
    of_service = variables_of(Settings)
    found = [Finding(line["about"], Verdict(line["verdict"]), line["seen"], line["fix"]) for line in lines]
    if ended.returncode != 0:
        found.append(fail("worker", ended.stderr.strip().rpartition("\n")[2], f"run `{' '.join(command)}` and read what it says"))
    return of_service | _OF_COMMANDS | set(first["variables"]), iter(found)
