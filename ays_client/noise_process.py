"""A network's noise process in the numbers that a sampler needs at a level.

The level is the noise-to-signal ratio sigma, of flow models `t = sigma / (1 + sigma)`. The state is `x_0 + sigma eps` (EDM), the same over
`h = sqrt(1 + sigma^2)` (VP), or `(1 - t) x_0 + t eps` (flow matching).
"""

import math
from dataclasses import dataclass

from ays_client.errors import ScheduleRefused

PREDICTIONS = {
    "vp": ("epsilon", "v_prediction", "sample"),
    "edm": ("epsilon", "v_prediction"),
    "flow": ("flow_prediction",),
}
"""What a network may predict, by the kind of its noise process."""


@dataclass(frozen=True)
class NoiseProcess:
    """The coordinates of the state, and what the network predicts.

    Attributes:
        kind: noise process, one of `PREDICTIONS`.
        prediction: what the network predicts, one of the kind's `PREDICTIONS`.
        std: standard deviation of the data that an EDM network is preconditioned for.
    """

    kind: str
    prediction: str
    std: float

    def scales(self, level: float) -> tuple[float, float]:
        """Factors of the clean sample and of the noise in the state."""
        if self.kind == "flow":
            return 1.0 - level, level
        shrink = 1.0 / math.hypot(1.0, level) if self.kind == "vp" else 1.0
        return shrink, shrink * level

    def input_scale(self, level: float) -> float:
        """Factor from the state to the network's input."""
        return 1.0 / math.hypot(self.std, level) if self.kind == "edm" else 1.0

    def estimate(self, level: float) -> tuple[float, float]:
        """Factors of the state and of the network's output in the estimate of the clean sample.

        Karras et al. 2022 (https://arxiv.org/abs/2206.00364), table 1; Salimans and Ho 2022 (https://arxiv.org/abs/2202.00512), appendix D;
        Esser et al. 2024 (https://arxiv.org/abs/2403.03206), section 2.
        """
        if self.prediction == "flow_prediction":
            return 1.0, -level
        if self.kind == "edm":
            norm = math.hypot(self.std, level)
            out = level * self.std / norm
            return (self.std / norm) ** 2, out if self.prediction == "epsilon" else -out
        h = math.hypot(1.0, level)
        return {"epsilon": (h, -level), "v_prediction": (1.0 / h, -level / h), "sample": (0.0, 1.0)}[self.prediction]

    def transition(self, high: float, low: float) -> tuple[float, float]:
        """Factors of the state and of the weighted estimates in the state at the next level."""
        if self.kind == "flow":
            return low / high, 1.0 - low / high
        (before, _), (after, _) = self.scales(high), self.scales(low)
        return after / before * low / high, after * (1.0 - low / high)


def check_prediction(noise_process: str, prediction_type: str) -> None:
    """Whether a formula is known for what a network predicts.

    Raises:
        ScheduleRefused: none is.
    """
    expected = PREDICTIONS.get(noise_process, ())
    if prediction_type not in expected:
        known = " or ".join(expected) or f"a noise_process of {', '.join(PREDICTIONS)}"
        why = f"received noise_process={noise_process} with prediction_type={prediction_type}, expected {known}"
        raise ScheduleRefused.of(what="FittedScheduler", why=why, fix="ask for a schedule of solver=dpmpp_2m")
