"""The same with LitServe: `AYS_URL=... PIPELINE=path/to/pipeline MODEL=digits python examples/litserve_server.py`."""

import base64
import io
import os

import litserve
import torch
from diffusers import DiffusionPipeline

from ays_client import Schedules, apply_schedule


class Sampler(litserve.LitAPI):
    """Every worker has its own pipeline, so nothing is shared."""

    def setup(self, device: str) -> None:
        self.pipe = DiffusionPipeline.from_pretrained(os.environ["PIPELINE"]).to(device)
        self.pipe.set_progress_bar_config(disable=True)
        self.schedules = Schedules(os.environ.get("AYS_URL", "http://127.0.0.1:8000"))  # line 1

    def decode_request(self, request: dict) -> tuple[int, int]:
        return int(request.get("seed", 0)), int(request.get("steps", 8))

    def predict(self, order: tuple[int, int]):
        seed, steps = order
        apply_schedule(self.pipe, self.schedules.get(model=os.environ["MODEL"], nfe=steps))  # line 2
        return self.pipe(num_inference_steps=steps, generator=torch.Generator().manual_seed(seed)).images[0]

    def encode_response(self, image) -> dict[str, str]:
        file = io.BytesIO()
        image.save(file, format="PNG")
        return {"image": base64.b64encode(file.getvalue()).decode()}


if __name__ == "__main__":
    litserve.LitServer(Sampler(), accelerator="auto").run(port=int(os.environ.get("PORT", "8001")), generate_client_file=False)
