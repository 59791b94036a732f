"""A Dockerfile as steps, and what building and running one of its stages does, in a folder instead of an image."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = "/opt/ays"


@dataclass
class Stage:
    """A stage: its name, what it is built on, and its instructions in order."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, instruction):
        """Arguments of the last instruction of that name, None when there is none."""
        return next((words for name, words in reversed(self.steps) if name == instruction), None)

    def command(self, instruction):
        """The words of a command in JSON form; those of a health check without its options."""
        return json.loads(re.search(r"\[.*\]$", self.last(instruction), re.DOTALL).group())


def stages(text):
    """The stages of a Dockerfile by name."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    found = {}
    for line in filter(None, map(str.strip, joined.splitlines())):
        instruction, _, words = line.partition(" ")
        if instruction == "FROM":
            base, _, name = words.split()
            found[name] = stage = Stage(name, base)
        else:
            stage.steps.append((instruction, words))
    return found


class Image:
    """A stage that is built in a folder: the virtual environment is really made, other paths are kept below the folder.

    Args:
        name: of a final stage.
        folder: where.
    """

    def __init__(self, name, folder):
        self._stages = stages((ROOT / "Dockerfile").read_text())
        self.stage, self.folder = self._stages[name], folder
        self.environment = {}
        self._venv = folder / "venv"
        self._context = folder / "context"
        self._build(self.stage)

    def run(self, words, **changes):
        """Run a command as the image would."""
        environment = self._resolved(self.environment | changes)
        return subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=200, check=False)

    def start(self, words, log, **changes):
        """Start a command as the image would, its output in a file."""
        with log.open("wb") as output:
            environment = self._resolved(self.environment | changes)
            return subprocess.Popen(words, cwd=self.folder, env=environment, stdout=output, stderr=output)

    def _build(self, stage):
        if stage.base in self._stages:
            self._build(self._stages[stage.base])
        for instruction, words in stage.steps:
            match instruction:
                case "ARG":
                    self.environment |= dict([words.split("=", 1)])
                case "ENV":
                    self.environment |= dict(word.split("=", 1) for word in shlex.split(words))
                case "COPY" if (found := re.fullmatch(rf"--from=(\S+) {VENV} {VENV}", words)) is not None:
                    # The environment of the stage it is copied from is not that of this one.
                    kept, self.environment = self.environment, {}
                    self._build(self._stages[found[1]])
                    self.environment = kept
                case "COPY":
                    self._copy(*shlex.split(words))
                case "RUN":
                    self._shell(words)
                case "WORKDIR" | "USER" | "EXPOSE" | "HEALTHCHECK" | "STOPSIGNAL" | "CMD":
                    pass
                case _:
                    message = f"{instruction} is not known here"
                    raise AssertionError(message)

    def _copy(self, *words):
        *sources, target = words
        for source in sources:
            assert f"!{source}" in (ROOT / ".dockerignore").read_text().splitlines(), f".dockerignore leaves {source} out"
            place = (self._context / target).resolve() / ("" if target != "./" else source)
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, place)

    def _shell(self, words):
        if words.startswith(("useradd ", "apt-get ")):
            # Whoever runs the tests is not root, or should not be, and has a compiler.
            return
        command = words.replace(VENV, str(self._venv)).replace("python -m venv", f"{sys.executable} -m venv")
        environment = self._resolved(self.environment)
        # The cache is what spares the tests the downloads that an image has to make.
        environment.pop("PIP_NO_CACHE_DIR", None)
        ended = subprocess.run(["bash", "-ec", command], cwd=self._context, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{words}\n{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}"

    def _resolved(self, environment):
        """What a process sees: nothing of ours from outside, and this folder's virtual environment."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("AYS_", "OTEL_", "PYTHON", "VIRTUAL_ENV"))}
        path = environment["PATH"].replace(VENV, str(self._venv)).replace("$PATH", outside["PATH"])
        return outside | environment | {"PATH": path, "HOME": str(self.folder)}
