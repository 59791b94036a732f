"""Weights of an interpolating polynomial's mean, which several methods are made of."""

import numpy as np

from worker.ays.noise import Array


def lagrange_means(nodes: Array, moments: Array) -> Array:
    """Means of the Lagrange polynomials of nodes that lie beside a node at 0.

    Args:
        nodes: places of one, two or three nodes, all different and none 0, shape (count, ...).
        moments: means of the variable and its powers up to the count, shape (count, ...).

    Returns:
        Weights of the values at the nodes, shape (count, ...); that of the value at 0 is what they lack to one.
    """
    weights = []
    for k, node in enumerate(nodes):
        others = np.delete(nodes, k, axis=0)
        # Mean of the product of t and (t - other), by elementary symmetric polynomials.
        mean = moments[-1]
        if len(others):
            mean = mean - others.sum(0) * moments[-2]
        if len(others) == 2:
            mean = mean + others.prod(0) * moments[-3]
        weights.append(mean / (node * np.prod(node - others, axis=0)))
    return np.stack(weights)
