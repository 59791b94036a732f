"""A pipeline of your own around an EDM network: diffusers has no unconditional one that scales the network's input as EDM needs.

pipe = EDMPipeline.from_folder("worker/models/fashion/pipeline")
apply_schedule(pipe, Schedules(url).get(model="fashion", nfe=8, solver="euler"))
pipe(batch_size=4, num_inference_steps=8).images
"""

from pathlib import Path

import torch
from diffusers import DiffusionPipeline, EDMEulerScheduler, UNet2DModel
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput


class EDMPipeline(DiffusionPipeline):
    def __init__(self, unet, scheduler):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)

    @classmethod
    def from_folder(cls, folder):
        """From the subfolders of network and scheduler."""
        return cls(UNet2DModel.from_pretrained(Path(folder) / "unet"), EDMEulerScheduler.from_pretrained(Path(folder) / "scheduler"))

    @torch.no_grad()
    def __call__(self, batch_size=1, generator=None, num_inference_steps=18, output_type="pil"):
        config = self.unet.config
        self.scheduler.set_timesteps(num_inference_steps, device=self.device)
        shape = (batch_size, config.in_channels, config.sample_size, config.sample_size)
        x = torch.randn(shape, generator=generator).to(self.device) * self.scheduler.init_noise_sigma
        for time in self.progress_bar(self.scheduler.timesteps):
            predicted = self.unet(self.scheduler.scale_model_input(x, time), time).sample
            x = self.scheduler.step(predicted, time, x).prev_sample
        images = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
        return ImagePipelineOutput(images=self.numpy_to_pil(images) if output_type == "pil" else images)
