"""Coordinates in the span of a few vectors: distances stay what they were."""

import pytest
import torch

from worker.ays.span import WHOLE, Span


def vectors(count: int, k: int, dim: int, seed: int) -> torch.Tensor:
    return torch.randn(count, k, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dim", [3, WHOLE, WHOLE + 1, 2000])
def test_scalar_products_of_combinations_are_kept(dim: int) -> None:
    span, known, mixing = Span(4, dim), vectors(4, 6, dim, 0), vectors(4, 5, 6, 1)
    span.widen(known)
    combined = mixing @ known
    found = span.coordinates(combined)
    assert found.shape == (4, 5, dim if dim <= WHOLE else 6)
    assert torch.allclose(found @ found.mT, combined @ combined.mT, rtol=1e-11, atol=1e-9)


def test_coordinates_stay_when_the_span_grows() -> None:
    span, first, second = Span(3, 900), vectors(3, 4, 900, 0), vectors(3, 2, 900, 1)
    span.widen(first)
    before = span.coordinates(first)
    span.widen(second)
    assert span.size == 6
    assert torch.allclose(span.padded(before), span.coordinates(first), atol=1e-10)
    both = torch.cat([first, second], dim=1)
    found = span.coordinates(both)
    assert torch.allclose(found @ found.mT, both @ both.mT, rtol=1e-11, atol=1e-9)


def test_vectors_that_it_holds_already_do_no_harm() -> None:
    """A student that met nothing new, up to rounding; and a zero."""
    span, known = Span(2, 700), vectors(2, 3, 700, 0)
    span.widen(known)
    span.widen(torch.cat([known[:, :1] * (1 + 1e-15), 0 * known[:, :1]], dim=1))
    more = torch.cat([known, vectors(2, 1, 700, 2)], dim=1)
    span.widen(more[:, 3:])
    found = span.coordinates(more)
    assert torch.allclose(found @ found.mT, more @ more.mT, rtol=1e-10, atol=1e-8)
