"""The Ray Serve example under Ray itself: `make test-integrations`.

Ray listens on every interface of its machine. So it runs in a network of its own, which has the loopback device alone.
"""

import base64
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.cli.commands import REPOSITORY
from tests.integrate import digits
from tests.integrate.ray_served import SECONDS


@pytest.mark.integrations
@pytest.mark.timeout(SECONDS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ray_serve_answers_with_the_image_of_the_schedule(tmp_path):
    alone = [shutil.which("unshare"), "--map-root-user", "--net"]
    assert subprocess.run([*alone, "true"], check=False).returncode == 0, "this test needs `unshare` and user namespaces, as on Linux"
    settings = {"PIPELINE": str(digits.PIPELINE), "MODEL": "digits", "PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(tmp_path)}
    found = subprocess.run(
        [*alone, sys.executable, "-m", "tests.integrate.ray_served"],
        env=os.environ | settings | {"HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    answer = json.loads(found.stdout.splitlines()[-1])
    assert answer["type"] == "image/png"
    assert digits.pixels(base64.b64decode(answer["image"])) == digits.image(seed=1) != digits.stock_image(seed=1)
    assert [path for path, _ in answer["asked"]] == ["/v1/schedules?model=digits&nfe=8&fallback=published"]
