"""A ComfyUI node: copy this file into ComfyUI's custom_nodes/ and `pip install` this package there; AYS_URL names the service.

"Optimized schedule" has SIGMAS out, for SamplerCustom. Where the service has no answer it is ComfyUI's own scheduler.
"""

import os

import torch

from ays_client import Schedules, Solver
from ays_client.formats import model_levels
from ays_client.solvers import CARDS

_SCHEDULES = Schedules(os.environ.get("AYS_URL", "http://127.0.0.1:8000"))


class OptimizedSchedule:
    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL",),
                "service_model": ("STRING", {"default": "stable-diffusion-xl"}),
                "steps": ("INT", {"default": 8, "min": 2, "max": 64}),
                "solver": ([solver.value for solver in Solver], {"default": "dpmpp_2m"}),
                "denoise": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}),
            }
        }

    RETURN_TYPES = ("SIGMAS",)
    FUNCTION = "levels"
    CATEGORY = "sampling/custom_sampling/schedulers"

    @classmethod
    def IS_CHANGED(cls, **inputs):
        """Nothing is to be remembered: a better schedule may have been optimized since."""
        return float("nan")

    def levels(self, model, service_model, steps, solver, denoise):
        nfe = 1 + (steps - 1) * CARDS[solver].evaluations_per_step
        schedule = _SCHEDULES.get(model=service_model, nfe=nfe, solver=solver)
        if schedule is None:
            import comfy.samplers

            sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
        else:
            sigmas = torch.FloatTensor(model_levels(schedule))
        kept = round(steps * denoise)
        return (sigmas[-(kept + 1) :] if kept else torch.FloatTensor([]),)


NODE_CLASS_MAPPINGS = {"OptimizedSchedule": OptimizedSchedule}
NODE_DISPLAY_NAME_MAPPINGS = {"OptimizedSchedule": "Optimized schedule"}
