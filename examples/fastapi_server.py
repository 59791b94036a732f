"""An inference server of FastAPI and diffusers with optimized schedules; the two lines are marked.

AYS_URL=http://127.0.0.1:8000 PIPELINE=path/to/pipeline MODEL=digits uvicorn --app-dir examples fastapi_server:app
"""

import io
import os
import threading
from contextlib import asynccontextmanager

import torch
from diffusers import DiffusionPipeline
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field

from ays_client import Schedules, apply_schedule


class Order(BaseModel):
    seed: int = 0
    steps: int = Field(8, ge=1, le=100)


@asynccontextmanager
async def lifespan(app: FastAPI):
    pipe = DiffusionPipeline.from_pretrained(os.environ["PIPELINE"])
    pipe.set_progress_bar_config(disable=True)
    schedules = Schedules(os.environ.get("AYS_URL", "http://127.0.0.1:8000"))  # line 1
    yield {"pipe": pipe, "schedules": schedules, "lock": threading.Lock()}


app = FastAPI(lifespan=lifespan)


@app.post("/generate")
def generate(order: Order, request: Request) -> Response:
    pipe, schedules = request.state.pipe, request.state.schedules
    generator = torch.Generator().manual_seed(order.seed)
    with request.state.lock:  # A pipeline serves one request at a time.
        schedule = schedules.get(model=os.environ["MODEL"], nfe=order.steps)
        apply_schedule(pipe, schedule)  # line 2
        image = pipe(num_inference_steps=order.steps, generator=generator).images[0]
    file = io.BytesIO()
    image.save(file, format="PNG")
    return Response(file.getvalue(), media_type="image/png", headers={"x-schedule": schedule.source.value if schedule else "stock"})
