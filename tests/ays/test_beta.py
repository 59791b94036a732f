"""Quantiles of the beta distribution against scipy's."""

import numpy as np
import pytest
from scipy.stats import beta

from worker.ays.beta import beta_quantile


@pytest.mark.parametrize("shapes", [(0.6, 0.6), (0.5, 0.7), (0.7, 0.5), (0.1, 0.9), (1.0, 1.0), (0.3, 1.0)])
def test_quantiles_are_those_of_scipy(shapes: tuple[float, float]) -> None:
    p = np.concatenate([np.linspace(0, 1, 101), [1e-12, 1e-7, 1 - 1e-7]])
    assert beta_quantile(p, *shapes) == pytest.approx(beta.ppf(p, *shapes), rel=1e-12, abs=0)


def test_the_arcsine_law_is_known() -> None:
    p = np.linspace(0, 1, 33)
    assert beta_quantile(p, 0.5, 0.5) == pytest.approx(np.sin(np.pi * p / 2) ** 2, abs=1e-15)


def test_shapes_above_one_and_probabilities_outside_are_refused() -> None:
    for p, a, b in ((0.5, 1.5, 0.5), (0.5, 0.5, 0.0), (1.5, 0.6, 0.6)):
        with pytest.raises(ValueError, match="expected shapes in"):
            beta_quantile(np.array(p), a, b)
