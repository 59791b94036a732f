"""Runs `ays` as often as it is asked to, each time in a process of its own, forked after the imports, which take two seconds.

It reads a command a line and answers each with its exit status, -n where signal n ended it.
"""

import gc
import json
import os
import sys

from service.cli.app import main
from service.local.child import die_with_parent


def become(words: list[str], cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    """Make this process the one that a shell would have started."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = ["ays", *words]


if __name__ == "__main__":
    # At its end a process has nothing of all this to look through.
    gc.freeze()
    for line in sys.stdin:
        tie = die_with_parent()
        child = os.fork()
        if child == 0:
            if tie is not None:
                tie()
            become(**json.loads(line))
            main()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
