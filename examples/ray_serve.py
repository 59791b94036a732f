"""The same with Ray Serve: `AYS_URL=... PIPELINE=path/to/pipeline MODEL=digits serve run examples.ray_serve:app`."""

import asyncio
import io
import os

import torch
from diffusers import DiffusionPipeline
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from ays_client import Schedules, apply_schedule


@serve.deployment
class Sampler:
    """One replica: one pipeline, one request at a time."""

    def __init__(self) -> None:
        self.pipe = DiffusionPipeline.from_pretrained(os.environ["PIPELINE"])
        self.pipe.set_progress_bar_config(disable=True)
        self.schedules = Schedules(os.environ.get("AYS_URL", "http://127.0.0.1:8000"))  # line 1
        self.lock = asyncio.Lock()

    def sample(self, seed: int, steps: int) -> bytes:
        apply_schedule(self.pipe, self.schedules.get(model=os.environ["MODEL"], nfe=steps))  # line 2
        image = self.pipe(num_inference_steps=steps, generator=torch.Generator().manual_seed(seed)).images[0]
        file = io.BytesIO()
        image.save(file, format="PNG")
        return file.getvalue()

    async def __call__(self, request: Request) -> Response:
        order = await request.json()
        async with self.lock:
            png = await asyncio.to_thread(self.sample, order.get("seed", 0), order.get("steps", 8))
        return Response(png, media_type="image/png")


app = Sampler.bind()
