"""Points of the plane on two spiral arms that blur outwards, and a perceptron that predicts v on them."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights.safetensors"
