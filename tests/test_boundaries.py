"""Who may import whom, and what never reaches the process of the API."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"

FORBIDDEN = ("torch", "numpy", "diffusers", "sklearn", "worker")

LOADED = f"""
import sys
import {{module}}
print(*sorted(set({FORBIDDEN!r}) & set(sys.modules)))
"""

WITHOUT = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FORBIDDEN!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import pytest
sys.exit(pytest.main(["--collect-only", "-qq", "tests/service", "tests/client"]))
"""


def python(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_import_contracts_hold():
    ended = python(LINT)
    assert ended.returncode == 0, ended.stdout
    assert "9 kept, 0 broken" in ended.stdout


@pytest.mark.parametrize("module", ["service.main", "service.__main__", "service.cli", "ays_client", "ays_process", "ays_store"])
def test_importing_it_loads_nothing_heavy(module):
    ended = python(LOADED.format(module=module))
    assert (ended.returncode, ended.stdout.strip()) == (0, ""), ended.stderr


def test_the_client_needs_no_more_than_it_says():
    ended = python("import sys, ays_client; print(*{'redis', 'rq', 'fastapi', 'structlog', 'typer'} & set(sys.modules))")
    assert (ended.returncode, ended.stdout.strip()) == (0, ""), ended.stderr


def test_the_tests_of_the_service_and_the_client_load_where_torch_is_missing():
    """`make test-service` runs them in such an environment; this finds an import too many without one."""
    ended = python(WITHOUT)
    assert ended.returncode == 0, ended.stdout + ended.stderr
