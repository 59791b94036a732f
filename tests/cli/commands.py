"""Runs `ays` in real processes."""

import atexit
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO

from ays_process.commands import module_command

REPOSITORY = Path(__file__).parents[2]
SECONDS = 600.0

_PATH = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
"""Commands run elsewhere, and find us and what the tests have found."""


def environment(**changes: str) -> dict[str, str]:
    """The tests' environment without any setting of ours but `changes`.

    Workers take one thread, as the tests that run beside this one need the other cores: threads that wait for one another on a
    core that another process has spend several times the work.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AYS_")}
    return {**kept, "AYS_THREADS": "1", **changes}


@cache
def _forking() -> "subprocess.Popen[str]":
    """The process that all commands of this one are forked from."""
    settings = environment(PYTHONPATH=_PATH)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(module_command("tests.cli.forking"), env=settings, preexec_fn=_interruptible, **pipes)
    atexit.register(process.communicate)
    return process


def _interruptible() -> None:
    # Who starts the tests in the background has SIGINT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ays(*words: str, cwd: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, in a process of its own that has everything imported."""
    process = _forking()
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        asked = {
            "words": words,
            "cwd": str(cwd),
            "environment": environment(PYTHONPATH=_PATH, **settings),
            "out": out.name,
            "err": err.name,
        }
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        return subprocess.CompletedProcess(["ays", *words], status, out.read(), err.read())


def ays_started(*words: str, cwd: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, in a process that imports everything itself, as a shell would."""
    return subprocess.run(
        module_command("service.cli", *words),
        cwd=cwd,
        env=environment(PYTHONPATH=_PATH, **settings),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


class Running:
    """A command that has not ended; its output goes to files that can be read meanwhile."""

    def __init__(self, process: "subprocess.Popen[bytes]", out: Path, err: Path) -> None:
        self.process, self._out, self._err = process, out, err

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_for(self, text: str) -> None:
        """Wait until it has written a text, to either stream."""
        deadline = time.monotonic() + SECONDS
        while text not in self.out + self.err:
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.err}"
            assert time.monotonic() < deadline, f"never wrote {text!r}: {self.err}"
            time.sleep(0.02)

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@contextmanager
def running(*words: str, cwd: Path, **settings: str) -> Iterator[Running]:
    """Start a command; it is ended with the block."""
    out, err = cwd / f"{words[0]}.out", cwd / f"{words[0]}.err"
    streams: list[IO[bytes]] = [out.open("wb"), err.open("wb")]
    process = subprocess.Popen(
        module_command("service.cli", *words),
        cwd=cwd,
        env=environment(PYTHONPATH=_PATH, **settings),
        stdout=streams[0],
        stderr=streams[1],
        preexec_fn=_interruptible,
    )
    for stream in streams:
        stream.close()
    try:
        yield Running(process, out, err)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(SECONDS)
