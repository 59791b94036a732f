"""Sizes of batches: as many samples at once as memory allows, found while working; running out of it is never fatal above one sample."""

import math
from collections.abc import Callable
from typing import Protocol

import torch

_VALUES_ON_CPU = 2**18
"""Values of `x` in one batch on a CPU: bounds memory whatever the shape, and fills a few cores with small images."""

_SHARE = 0.8
"""Part of the free memory that is planned with: the allocator's fragments need the rest."""


class Memory(Protocol):
    """Memory of an accelerator, in bytes."""

    def free(self) -> int:
        """Bytes that a batch may take."""

    def peak(self, work: Callable[[], None]) -> int:
        """Bytes that some work took at its peak, beyond what was taken before it."""

    def release(self) -> None:
        """Give back what the allocator keeps but does not use."""


class CudaMemory:
    """Memory of a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        """Look at one device."""
        self._device = device

    def free(self) -> int:
        """What the driver has, and what the allocator holds unused."""
        unused = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return torch.cuda.mem_get_info(self._device)[0] + unused

    def peak(self, work: Callable[[], None]) -> int:
        """Peak of the allocator's statistics during the work."""
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        work()
        return torch.cuda.max_memory_allocated(self._device) - before

    def release(self) -> None:
        """Empty the allocator's cache."""
        torch.cuda.empty_cache()


class Batches:
    """Splits rows into batches. The first batch on an accelerator is one row, whose memory tells how many rows fit.

    A batch that runs out of memory is tried again at half the size, and later ones stay at it.
    """

    def __init__(self, *, most: int, shape: tuple[int, ...], memory: Memory | None) -> None:
        """Begin.

        Args:
            most: largest number of rows, at least 1.
            shape: shape of one row.
            memory: the accelerator's; None: a CPU, where the size follows from the shape alone.
        """
        self._most = most
        self._memory = memory
        self._measured = memory is None
        self.size = min(most, max(1, _VALUES_ON_CPU // math.prod(shape))) if memory is None else 1

    def run(self, work: Callable[[int, int], None], rows: int) -> None:
        """Do work on all rows, batch after batch.

        Args:
            work: does rows from a start up to a stop, and leaves no trace where it raises.
            rows: how many there are.

        Raises:
            torch.OutOfMemoryError: a single row does not fit.
        """
        done = 0
        while done < rows:
            stop = min(done + self.size, rows)
            try:
                self._work(work, done, stop)
            except torch.OutOfMemoryError:
                if stop - done == 1:
                    raise
                self.size = (stop - done) // 2
            else:
                done = stop
                continue
            # Outside the handler: until it ends, the exception holds the failed call's tensors.
            if self._memory is not None:
                self._memory.release()

    def _work(self, work: Callable[[int, int], None], start: int, stop: int) -> None:
        if self._measured or self._memory is None:
            work(start, stop)
            return
        taken = self._memory.peak(lambda: work(start, stop))
        self._measured = True
        self.size = max(1, min(self._most, int(_SHARE * self._memory.free()) // max(taken, 1)))


def memory_of(device: torch.device) -> Memory | None:
    """Memory of a device; None for a CPU, whose memory is the system's to manage."""
    return CudaMemory(device) if device.type == "cuda" else None
