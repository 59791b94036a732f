"""A child process that ends with us, whatever ends us, and that is started again when it crashes."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from ays_process.pauses import Pauses

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> Callable[[], None] | None:
    """What `preexec_fn` of a child runs to tie its life to ours where the kernel can (Linux): we may be killed without a word."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return tie


class Child:
    """One supervised process; `tend` starts it again after a crash, later each time.

    Args:
        name: how messages call it.
        command: program and arguments.
        environment: its environment.
        log: file that its output is appended to; None: our standard error.
    """

    def __init__(self, name: str, command: Sequence[str], *, environment: Mapping[str, str], log: Path | None) -> None:
        self.name = name
        self.log = log
        self._pauses = Pauses()
        self._command, self._environment = list(command), dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._due = 0.0

    @property
    def crashes(self) -> int:
        """Crashes in a row."""
        return self._pauses.deaths

    @property
    def pid(self) -> int:
        """Process id, 0 when it has not been started."""
        return self._process.pid if self._process else 0

    @property
    def status(self) -> int | None:
        """Exit status of the process, None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process in a session of its own, so that Ctrl-C reaches us alone and we end it in our order."""
        output: IO[bytes] | None = None
        if self.log is not None:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            output = self.log.open("ab")
        try:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output or sys.stderr.fileno(),
                stderr=output or sys.stderr.fileno(),
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
        finally:
            if output is not None:
                output.close()
        self._started = time.monotonic()

    def tend(self) -> str | None:
        """Start the process again when it has ended and its pause is over.

        Returns:
            What happened, when something did.
        """
        if self._process is None or self.alive:
            return None
        now = time.monotonic()
        if self._due == 0.0:
            pause = self._pauses.after(now - self._started)
            self._due = now + pause
            return f"{self.name} ended with status {self._process.returncode}; it is started again in {pause:g} s"
        if now >= self._due:
            self._due = 0.0
            self.start()
        return None

    def last_words(self, lines: int = 3) -> str:
        """The last lines of its log; empty when there is none."""
        if self.log is None or not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def terminate(self) -> None:
        """Ask the process to end."""
        if self.alive and self._process is not None:
            self._process.terminate()

    def join(self, deadline: float) -> None:
        """Wait for the process to end, and kill it at the deadline.

        Args:
            deadline: time of `time.monotonic`.
        """
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
