"""Errors after which a process cannot be trusted: its device is broken, or its memory is used up and in pieces."""

_OF_TORCH = frozenset({"AcceleratorError", "OutOfMemoryError"})
_WORDS = ("CUDA error", "CUDA out of memory", "DefaultCPUAllocator")


def ends_process(error: BaseException) -> bool:
    """Whether the work should go on in a new process.

    Args:
        error: What was raised; what it was raised from counts, too. Torch's errors are known by name: this module works without torch.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, MemoryError) or (isinstance(link, RuntimeError) and _of_torch(link)):
            return True
        link = link.__cause__ or link.__context__
    return False


def _of_torch(error: RuntimeError) -> bool:
    return type(error).__name__ in _OF_TORCH or any(word in str(error) for word in _WORDS)
