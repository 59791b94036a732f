"""A network that `torch.compile` speeds up, and that works without it."""

import logging
from collections.abc import Callable
from typing import Any

import torch

BACKENDS = ("inductor", "cudagraphs", "aot_eager", "eager")
"""Backends of `torch.compile`: what users want, and what finds out whether a fault is inductor's."""

_log = logging.getLogger(__name__)


class CompiledNetwork:
    """A network that is compiled when it is first called, and again for batches of another kind.

    Compiling may fail for reasons that have nothing to do with the network: no C++ compiler, no Triton, an operator without a
    lowering. Then the network is called as it is from there on, and the log says so once: speed is no reason to fail a job.
    """

    def __init__(self, net: torch.nn.Module, *, where: str, backend: str) -> None:
        """Compile nothing yet.

        Args:
            net: the network.
            where: subject of the log's line, such as `model 'x'`.
            backend: one of `BACKENDS`.
        """
        self.net = net
        self._where = where
        self._compiled: Callable[..., Any] | None = torch.compile(net, backend=backend)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Call the network.

        Raises:
            torch.OutOfMemoryError: the batch does not fit.
            Exception: whatever the network itself raises.
        """
        if self._compiled is not None:
            try:
                return self._compiled(*inputs, **named)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # compilers fail with errors of many kinds; one of the network's own is raised again below
                self._compiled = None
                told = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
                _log.warning("%s: compiling the network failed (%s); it is evaluated without", self._where, told)
        return self.net(*inputs, **named)
