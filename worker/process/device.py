"""The device that a worker computes on: the GPU that its process sees, or else the CPU."""

from dataclasses import dataclass

import torch


class DeviceError(Exception):
    """There is a GPU, and it cannot be used.

    Attributes:
        seen: what was received, and what was expected.
        fix: what to change.
    """

    def __init__(self, received: str) -> None:
        """Say it for the person who runs the worker.

        Args:
            received: what the GPU answered.
        """
        self.seen = f"the GPU: received {received}; expected one with room for another process"
        self.fix = (
            "end what uses it, which `nvidia-smi` names, or let processes share it (`nvidia-smi -c DEFAULT`), "
            "or name another in CUDA_VISIBLE_DEVICES, none for the CPU"
        )
        super().__init__(f"{self.seen}; fix: {self.fix}")


@dataclass(frozen=True)
class Gpu:
    """A GPU that can be used.

    Attributes:
        name: as its driver calls it.
        free: bytes of its memory that nobody has taken.
        total: bytes of its memory.
    """

    name: str
    free: int
    total: int


def gpu() -> Gpu | None:
    """The GPU that this process sees, taken into use; None: there is none.

    Raises:
        DeviceError: another process has it for itself, has filled it, or it is broken.
    """
    if not torch.cuda.is_available():
        return None
    try:
        # First: to be seen and named a GPU need not let us in, to tell its memory it must.
        free, total = torch.cuda.mem_get_info()
        return Gpu(torch.cuda.get_device_name(), free, total)
    except RuntimeError as error:
        raise DeviceError(str(error).partition("\n")[0]) from error
