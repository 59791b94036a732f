"""Stands in for ComfyUI, which is on no package index: its conventions for nodes, models and samplers, in our own words.

A node's FUNCTION gets its inputs by name and returns as many results as RETURN_TYPES. A sampler's function is called as
`function(model, x, sigmas, extra_args=, callback=, disable=, **extra_options)` with a model that returns the clean sample from
`x_0 + sigma eps`, or from `(1 - t) x_0 + t eps` for flow models, whose sampling is a CONST; noise is scaled before, and the result after.
"""

import math
from types import ModuleType

import torch

from tests.integrate.problems import denoise, network


class CONST:
    """Of flow models."""

    sigma_max = torch.tensor(1.0)

    def noise_scaling(self, sigma, noise, latent):
        return sigma * noise + (1 - sigma) * latent

    def inverse_noise_scaling(self, sigma, latent):
        return latent / (1 - sigma)

    def denoised(self, x, t):
        return x - t * network("flow", x, 1000 * t)


class EPS:
    """Of the others."""

    sigma_max = torch.tensor(14.6146)

    def noise_scaling(self, sigma, noise, latent):
        at_max = math.isclose(float(sigma), float(self.sigma_max), rel_tol=1e-5)
        return noise * (torch.sqrt(1 + sigma**2) if at_max else sigma) + latent

    def inverse_noise_scaling(self, _sigma, latent):
        return latent

    def denoised(self, x, sigma):
        eps = (x.double() - denoise(x, sigma)) / sigma
        return (x.double() - sigma * eps).to(x)


class V(EPS):
    """v-prediction."""

    def denoised(self, x, sigma):
        clean, h = x.double() / math.hypot(1, sigma), math.hypot(1, sigma)
        v = ((clean * h - denoise(clean * h, sigma)) / sigma - sigma * denoise(clean * h, sigma)) / h
        return (clean / h - sigma / h * v).to(x)


class Model:
    """A MODEL, of which nodes ask the sampling."""

    def __init__(self, sampling):
        self.sampling = sampling

    def get_model_object(self, name):
        return {"model_sampling": self.sampling}[name]


class KSAMPLER:
    """A SAMPLER around a function."""

    def __init__(self, function, extra_options=None):
        self.function, self.extra_options = function, extra_options or {}

    def sample(self, sampling, sigmas, noise, latent, guider=None):
        """What SamplerCustom does; the number of calls of the model, and the result. A sampler's model wraps its guider."""
        calls = []

        def model(x, sigma, *, model_options, seed, denoise_mask):
            assert (model_options, seed, denoise_mask) == ({}, 1, None)
            calls.append(float(sigma[0]))
            return sampling.denoised(x, float(sigma[0]))

        model.inner_model = guider
        x = sampling.noise_scaling(sigmas[0], noise, latent)
        extra = {"model_options": {}, "seed": 1, "denoise_mask": None}
        x = self.function(model, x, sigmas, extra_args=extra, callback=lambda _: None, disable=False, **self.extra_options)
        return calls, sampling.inverse_noise_scaling(sigmas[-1], x)


def modules():
    """The modules that nodes import, by name."""
    names = ("comfy", "comfy.samplers", "comfy.model_sampling")
    comfy, samplers, model_sampling = made = [ModuleType(name) for name in names]
    comfy.samplers, comfy.model_sampling = samplers, model_sampling
    samplers.KSAMPLER, model_sampling.CONST = KSAMPLER, CONST
    samplers.ksampler = lambda name, extra_options=None: (name, extra_options or {})
    samplers.calculate_sigmas = lambda _sampling, name, steps: torch.linspace(9, 0, steps + 1) if name == "normal" else None
    return dict(zip(names, made, strict=True))
