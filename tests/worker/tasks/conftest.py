"""Reports of a few noises: what a pipeline does with them is the same."""

from collections.abc import Iterator

import pytest

from tests.worker.tasks.pipelines import small_reports


@pytest.fixture(scope="package", autouse=True)
def _small_reports() -> Iterator[None]:
    with small_reports():
        yield
