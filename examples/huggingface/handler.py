"""`handler.py` of a model repository for Hugging Face Inference Endpoints (the Inference Toolkit loads `EndpointHandler`).

Set AYS_URL and MODEL in the endpoint's environment, and list `align-your-steps-service` in the repository's requirements.txt.
"""

import os
from typing import Any

import torch
from diffusers import DiffusionPipeline

from ays_client import Schedules, apply_schedule


class EndpointHandler:
    def __init__(self, path: str = "") -> None:
        where = ("cuda", torch.float16) if torch.cuda.is_available() else ("cpu", torch.float32)
        self.pipe = DiffusionPipeline.from_pretrained(path).to(*where)
        self.pipe.set_progress_bar_config(disable=True)
        self.schedules = Schedules(os.environ["AYS_URL"])  # line 1

    def __call__(self, data: dict[str, Any]) -> Any:
        """`{"inputs": prompt, "parameters": {"num_inference_steps": 8, "seed": 0, ...}}` in, an image out; the toolkit encodes it."""
        parameters = dict(data.get("parameters") or {})
        generator = torch.Generator().manual_seed(parameters.pop("seed", 0))
        steps = parameters.setdefault("num_inference_steps", 8)
        apply_schedule(self.pipe, self.schedules.get(model=os.environ["MODEL"], nfe=steps))  # line 2
        prompt = [data["inputs"]] if data.get("inputs") else []
        return self.pipe(*prompt, generator=generator, **parameters).images[0]
