"""The command line of a process of ours."""

import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours in this interpreter.

    Args:
        module: its name, as after `python -m`.
        arguments: what follows it.
    """
    # -P: without it Python looks in the current folder first, where a `worker.py` of the user's would be run in place of ours.
    return [sys.executable, "-P", "-m", module, *arguments]
