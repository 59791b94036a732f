"""Loss curves as bodies: identity, and what is said about bad ones."""

import math
import re

import pytest
from pydantic import ValidationError

from ays_client.contract import Effort, Method, Solver
from ays_client.curve import CurveRequest, LossCurve

SIGMA = [0.01 * 2**i for i in range(12)]


def loss(sigma, c=0.5):
    return [c**2 * level**2 / (c**2 + level**2) for level in sigma]


def curve(**changes):
    return {"sigma": SIGMA, "loss": loss(SIGMA)} | changes


def test_a_curve_is_the_same_in_either_order():
    rising, falling = LossCurve(**curve()), LossCurve(sigma=SIGMA[::-1], loss=loss(SIGMA)[::-1])
    assert rising.id == falling.id
    assert falling.rising() == rising
    assert re.fullmatch(r"curve-[0-9a-f]{32}", rising.id)
    assert LossCurve(**curve(kind="flow")).id != rising.id
    assert LossCurve(**curve(loss=loss(SIGMA, 0.6))).id != rising.id


def test_the_request_names_the_curve():
    asked = CurveRequest(**curve(nfe=7, solver="ddim", method="entropic"))
    assert asked.request.model == LossCurve(**curve()).id
    assert (asked.request.nfe, asked.request.solver, asked.request.method) == (7, Solver.DDIM, Method.ENTROPIC)
    assert asked.request.effort is Effort.FAST


def test_noise_of_the_measurement_is_no_mistake():
    bent = loss(SIGMA)
    bent[6] = 0.8 * bent[5]
    bent[-1] = 0.9 * bent[-2]
    LossCurve(**curve(loss=bent))


FEW = SIGMA[:5]
NARROW = [1 + 0.1 * i**1.1 for i in range(12)]
STEPS = [float(i) for i in range(0, 1000, 50)]
TIMES = [(i + 1) / 20 for i in range(20)]
SHARES = [5.0 * i for i in range(1, 21)]
LOGS = [math.log(level) for level in SIGMA]


@pytest.mark.parametrize(
    ("changes", "message", "fix"),
    [
        ({"loss": loss(SIGMA)[:-1]}, "sigma has 12 values and loss 11", "send one loss for every sigma"),
        ({"sigma": FEW, "loss": loss(FEW)}, "at least 8 items", ""),
        ({"sigma": NARROW, "loss": loss(NARROW)}, "sigma covers 1 to 2.3", "a factor of 10 at least"),
        ({"loss": [*loss(SIGMA)[:-1], math.nan]}, "finite number", ""),
        ({"loss": [-0.1, *loss(SIGMA)[1:]]}, "loss is -0.1 at sigma=0.01", "which is never negative"),
        ({"loss": [2.0] * 12}, "loss is 2 at every sigma", "measure it at each level"),
        ({"sigma": [SIGMA[1], SIGMA[0], *SIGMA[2:]]}, "not in order: 0.04 follows 0.01", "sort the rows by sigma"),
        ({"sigma": [SIGMA[0], *SIGMA[:-1]]}, "not in order", "send each level once"),
        ({"sigma": LOGS}, "sigma has the value -4.6", "if these are ln sigma or log-SNR"),
        ({"sigma": STEPS, "loss": loss(STEPS)}, "timesteps or percentages (0, 50, 100, ...)", "alphas_cumprod"),
        ({"sigma": SHARES, "loss": loss(SHARES)}, "timesteps or percentages (5, 10, 15, ...)", "alphas_cumprod"),
        ({"sigma": TIMES, "loss": loss(TIMES)}, "evenly spaced in [0, 1]", "t / (1 - t) for flow models"),
        ({"sigma": [level**-2 for level in SIGMA]}, "the loss falls from", "send sigma = SNR^-0.5"),
        ({"loss": [m / s**2 for m, s in zip(loss(SIGMA), SIGMA, strict=True)]}, "the loss falls from", "that of noise prediction"),
        ({"loss": [*loss(SIGMA)[:6], 1e-3, *loss(SIGMA)[7:]]}, "to 0.001 at sigma=0.64", "average over more samples"),
        ({"solver": "dpmpp_2m"}, "solver=dpmpp_2m needs more of a model than its loss curve", "ask for sddim"),
        ({"method": "paper"}, "method=paper runs the model", "ask for method=profile or method=entropic"),
        ({"method": "entropic", "detail": 1.0}, "method=entropic knows no detail", "leave detail out"),
        ({"nfe": 1}, "greater than or equal to 2", ""),
    ],
)
def test_a_bad_curve_is_told_what_is_wrong_and_what_to_do(changes, message, fix):
    with pytest.raises(ValidationError) as caught:
        CurveRequest(**curve(**changes))
    said = caught.value.errors()[0]["msg"]
    assert message in said
    assert fix in said.rpartition("; ")[2]
