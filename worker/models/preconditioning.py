r"""Preconditioning: what a network sees, and what its output F says about x_0, as one table of `(prediction, process)`.

    D(x, sigma) = c_skip x + c_out F(c_in x, c_noise)                              (Karras et al. 2022, Equation 7)

    process   prediction           c_in                    c_skip                  c_out
    vp, ve    epsilon              s                       1                       -sigma
    vp        v_prediction         s                       s^2                     -sigma s
    vp, ve    sample               s                       0                       1
    edm       epsilon              (sigma^2 + d^2)^-1/2    d^2 c_in^2              sigma d c_in
    edm       v_prediction         (sigma^2 + d^2)^-1/2    d^2 c_in^2              -sigma d c_in
    flow      flow_prediction      s = 1 - t               s                       -t

with `s = 1 / sqrt(1 + sigma^2)` (vp), `d = sigma_data`, `t = sigma / (1 + sigma)`; `c_noise` is the process's native time. Stable Video
Diffusion's continuous v-prediction is the edm row of v_prediction with d = 1. `epsilon` of EDM is diffusers' name for the raw output F.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from worker.ays.noise import EDM, Array, NoiseProcess

Prediction = Literal["epsilon", "v_prediction", "sample", "flow_prediction"]


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of a batch of noise levels, each of shape (batch,), float64.

    Attributes:
        c_in: scale of the network's input.
        c_skip: weight of x in D.
        c_out: weight of the network's output in D.
        c_noise: the process's native time.
    """

    c_in: Array
    c_skip: Array
    c_out: Array
    c_noise: Array


def coefficients(prediction: Prediction, process: NoiseProcess, sigma: Array) -> Coefficients:
    """Coefficients of D at noise levels.

    Args:
        prediction: what the network predicts.
        process: the noise process of its training.
        sigma: noise levels, > 0, shape (batch,), float64.

    Raises:
        ValueError: no network is trained to predict that on such a process.
    """
    if isinstance(process, EDM):
        c_in = 1 / np.sqrt(sigma**2 + process.sigma_data**2)
        c_skip, c_out = (process.sigma_data * c_in) ** 2, sigma * process.sigma_data * c_in
    else:
        c_in = process.scale(sigma)
        c_skip, c_out = c_in, c_in * sigma
    match process.kind, prediction:
        case ("edm", "epsilon"):
            pass
        case ("edm", "v_prediction") | ("flow", "flow_prediction"):
            c_out = -c_out
        case ("vp" | "ve", "epsilon"):
            c_skip, c_out = np.ones_like(sigma), -sigma
        case ("vp", "v_prediction"):
            c_skip, c_out = c_in**2, -c_out
        case ("vp" | "ve", "sample"):
            c_skip, c_out = np.zeros_like(sigma), np.ones_like(sigma)
        case _:
            msg = f"received prediction {prediction!r} on a process of kind {process.kind!r}; expected a pair of {__name__}'s table"
            raise ValueError(msg)
    return Coefficients(c_in, c_skip, c_out, process.time(sigma))
