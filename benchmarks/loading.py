"""What does loading cost? `python -m benchmarks.loading`: bytes read and memory taken for a pipeline of random weights, 200 MB.

In a process of its own, after the same code has loaded a small pipeline (so that imports do not count), with the file's pages dropped
from the page cache: how many bytes come from storage and from read calls while the fingerprint is computed and the network is loaded and
probed, and how much resident memory the process takes at its peak. Linux only. Writes `docs/results/loading.json`.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from worker.models.diffusers_entry import DiffusersEntry
from worker.models.diffusers_model import load_diffusers
from worker.models.hub import Hub

RESULTS = Path(__file__).resolve().parents[1] / "docs/results/loading.json"
WIDTHS = {"small": (32, 32), "large": (288, 576)}


def make(folder: Path, widths: tuple[int, ...]) -> Path:
    """Save a pipeline of random weights."""
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",) * len(widths), "up_block_types": ("UpBlock2D",) * len(widths)}
    net = UNet2DModel(sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=widths, **blocks)
    DDPMPipeline(unet=net, scheduler=DDPMScheduler()).save_pretrained(folder)
    return folder


def status(name: str) -> int:
    """A number of /proc/self/status, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def io(name: str) -> int:
    """A counter of /proc/self/io, in bytes."""
    line = next(line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


def drop_pages(path: Path) -> None:
    """Have the next read of a file come from storage."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(small: Path, large: Path) -> dict[str, float]:
    """Load both; what the second one cost."""
    hub = Hub(allowed=False)
    load_diffusers(DiffusersEntry(id="small", title="small", source=small), hub)
    weights = large / "unet/diffusion_pytorch_model.safetensors"
    drop_pages(weights)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    before = {"resident": status("VmRSS"), "storage": io("read_bytes"), "calls": io("rchar")}
    started = time.perf_counter()
    model = load_diffusers(DiffusersEntry(id="large", title="large", source=large), hub)
    seconds = time.perf_counter() - started
    model.denoiser.denoise(torch.randn(1, 3, 8, 8), torch.ones(1))
    size = weights.stat().st_size
    return {
        "weights_megabytes": size / 1e6,
        "read_from_storage": (io("read_bytes") - before["storage"]) / size,
        "read_by_calls": (io("rchar") - before["calls"]) / size,
        "peak_memory": (status("VmHWM") - before["resident"]) / size,
        "anonymous_memory_megabytes": status("RssAnon") / 1e6,
        "seconds": seconds,
    }


def main() -> None:
    """Make the pipelines, measure in a fresh process, write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--measure", nargs=2, type=Path, metavar="FOLDER", help="measure in this process: the small and the large pipeline")
    parser.add_argument("--folder", type=Path, help="where the pipelines are made; a file system on a disk, not in memory")
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        made = [str(make(Path(folder) / name, widths)) for name, widths in WIDTHS.items()]
        command = [sys.executable, "-m", "benchmarks.loading", "--measure", *made]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    rounded = {name: round(value, 3) for name, value in found.items()}
    RESULTS.write_text(json.dumps(rounded, indent=1) + "\n")
    print(json.dumps(rounded, indent=1))


if __name__ == "__main__":
    main()
