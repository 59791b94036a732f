"""The formula of a fitted schedule, step by step, and weights to try it with."""

import torch


def random_weights(steps, *, history=4, seed=0):
    """A list for each step, newest first, of sum 1."""
    generator = torch.Generator().manual_seed(seed)
    lists = [torch.randn(min(history, step + 1), generator=generator, dtype=torch.float64) / 2 for step in range(steps)]
    return [[1.0 - float(older[1:].sum()), *older[1:].tolist()] for older in lists]


def naive(denoise, x, sigmas, weights):
    """`x_(i+1) = r x_i + (1 - r) sum_m w_i[m] D_(i-m)` in `x_0 + sigma eps`; the first of fewer estimates stands for the missing ones."""
    estimates = []
    for index, own in enumerate(weights[len(weights) + 1 - len(sigmas) :]):
        estimates.insert(0, denoise(x, sigmas[index]))
        mean = sum(weight * estimates[min(back, index)] for back, weight in enumerate(own))
        kept = sigmas[index + 1] / sigmas[index]
        x = kept * x + (1 - kept) * mean
    return x
