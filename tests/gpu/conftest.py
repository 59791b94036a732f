"""Tests that need a CUDA device: `make test-gpu`. Where there is none they are skipped."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    """A compiler that has compiled nothing before."""
    torch._dynamo.reset()
    with torch._inductor.utils.fresh_cache():
        yield
    torch._dynamo.reset()


@pytest.fixture
def _full_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions in full float32; the product leaves torch's default, which is TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
