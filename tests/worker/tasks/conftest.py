"""Reports of a few noises: what a pipeline does with them is the same."""

import pytest


@pytest.fixture(scope="package", autouse=True)
def _small_reports():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.ays.search.report.MOST", 64)
        yield
