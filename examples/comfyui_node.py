"""A ComfyUI node: copy this file into ComfyUI's custom_nodes/ and `pip install` this package there; AYS_URL names the service.

"Optimized schedule" has SIGMAS and the SAMPLER that they are made for out, for SamplerCustom. Without an answer of the service it raises,
or, with `without_answer` set to "normal", gives ComfyUI's own normal schedule.
"""

import logging
import os

from ays_client import Schedules
from ays_client.comfyui import sampler_of, sigmas_of, solvers
from ays_client.solvers import CARDS

_SCHEDULES = Schedules(os.environ.get("AYS_URL", "http://127.0.0.1:8000"))
logging.getLogger("httpx2").setLevel(logging.WARNING)  # its lines would break the progress bar


class OptimizedSchedule:
    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL",),
                "service_model": ("STRING", {"default": "stable-diffusion-xl"}),
                "steps": ("INT", {"default": 8, "min": 2, "max": 64}),
                "solver": ([solver.value for solver in solvers()], {"default": "dpmpp_2m"}),
                "denoise": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}),
                "without_answer": (["error", "normal"], {"default": "error"}),
            }
        }

    RETURN_TYPES = ("SIGMAS", "SAMPLER")
    FUNCTION = "sample_by"
    CATEGORY = "model/sampling/schedulers"

    @classmethod
    def IS_CHANGED(cls, service_model, steps, solver, **_others):
        """Sampled anew once there is another schedule, which may have been optimized since."""
        schedule = _schedule(service_model, steps, solver)
        return schedule and schedule.id

    def sample_by(self, model, service_model, steps, solver, denoise, without_answer):
        sampling, schedule = model.get_model_object("model_sampling"), _schedule(service_model, steps, solver)
        if schedule is None and without_answer == "error":
            msg = f"no schedule of {service_model}, {steps} steps, {solver}; optimize it, or set without_answer to normal"
            raise RuntimeError(msg)
        sigmas, kept = sigmas_of(schedule, sampling, steps), round(steps * denoise)
        return (sigmas[-(kept + 1) :] if kept else sigmas[:0]), sampler_of(schedule, sampling, solver)


def _schedule(service_model, steps, solver):
    return _SCHEDULES.get(model=service_model, nfe=1 + (steps - 1) * CARDS[solver].evaluations_per_step, solver=solver)


NODE_CLASS_MAPPINGS = {"OptimizedSchedule": OptimizedSchedule}
NODE_DISPLAY_NAME_MAPPINGS = {"OptimizedSchedule": "Optimized schedule"}
