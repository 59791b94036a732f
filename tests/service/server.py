"""A real server process."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0


class Server:
    """The service on a free port, its log in a file."""

    def __init__(self, redis_url, log, *, command=("service",), **settings):
        self.log, self.command = log, command
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AYS_")}
        environment |= {"AYS_REDIS_URL": redis_url, "AYS_PORT": "0"} | {name: str(value) for name, value in settings.items()}
        with log.open("wb") as output:
            python = [sys.executable, "-m", *command]
            self.process = subprocess.Popen(python, cwd=ROOT, env=environment, stdout=output, stderr=output)
        self.url = self._listening()

    def records(self):
        """The complete lines of the log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def stop(self):
        """Ask it to stop; returns its exit status and the seconds it took."""
        start = time.monotonic()
        self.process.terminate()
        return self.process.wait(30), time.monotonic() - start

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _listening(self):
        end = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            for record in self.records():
                if record["event"] == "listening":
                    return record["url"]
                if record["event"].startswith("Uvicorn running on") and self.command[0] == "uvicorn":
                    return record["event"].split()[3]
            time.sleep(0.02)
        self.process.kill()
        self.process.wait()
        message = f"the server did not start:\n{self.log.read_text()}"
        raise AssertionError(message)
