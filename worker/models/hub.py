"""Pipelines on the Hugging Face hub: one commit, from the local cache; downloaded only where the operator allows it."""

from pathlib import Path

from worker.models.diffusers_entry import HubReference
from worker.models.errors import ModelError

_CONFIGURATION = ("model_index.json", "config.json", "scheduler_config.json", "*/config.json", "*/scheduler_config.json")
_NEVER = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.msgpack", "*.h5", "*.onnx", "*.onnx_data", "*.py")
_ENDS = (".safetensors", "-*.safetensors")


class Hub:
    """The hub, or what of it is in the local cache."""

    def __init__(self, *, allowed: bool) -> None:
        """Decide about the network.

        Args:
            allowed: whether anything may be downloaded (`AYS_ALLOW_HUB`).
        """
        self._allowed = allowed

    def cached(self, where: str, reference: HubReference) -> Path:
        """Folder of a commit, as far as it is in the local cache; the network is left alone.

        Raises:
            ModelError: nothing of it is there.
        """
        return self._snapshot(where, reference, (), allowed=False)

    def configuration(self, where: str, reference: HubReference) -> Path:
        """Folder of a commit with its configuration files.

        Raises:
            ModelError: it is not in the cache and may not or cannot be downloaded.
        """
        return self._snapshot(where, reference, _CONFIGURATION, allowed=self._allowed)

    def component(self, where: str, reference: HubReference, component: str, variant: str | None) -> None:
        """See to it that the weights of a component, or what else belongs to it, are in the folder.

        Args:
            where: subject of messages.
            reference: the commit.
            component: subfolder; empty: the root.
            variant: of the weights' file names.

        Raises:
            ModelError: they are not in the cache and may not or cannot be downloaded.
        """
        if not self._allowed:
            return
        folder = f"{component}/" if component else ""
        plain = (f"{folder}*.json", f"{folder}*.txt", f"{folder}*.model", f"{folder}*/*.json")
        if variant is None:
            weights = tuple(f"{folder}{stem}{end}" for stem in ("diffusion_pytorch_model", "model") for end in _ENDS)
        else:
            weights = (f"{folder}*.safetensors",)
        self._snapshot(where, reference, (*plain, *weights), allowed=True)

    @staticmethod
    def root(snapshot: Path) -> Path:
        """Where the links of a snapshot lead to: the cache of its repository, `models--owner--name`."""
        return snapshot.parent.parent

    def _snapshot(self, where: str, reference: HubReference, patterns: tuple[str, ...], *, allowed: bool) -> Path:
        # Imported here: it takes a second, and local folders never need it.
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

        try:
            return Path(
                snapshot_download(
                    reference.repository,
                    revision=reference.revision,
                    local_files_only=not allowed,
                    allow_patterns=list(patterns),
                    ignore_patterns=list(_NEVER),
                )
            )
        except LocalEntryNotFoundError as error:
            if allowed:
                raise _unreachable(where, reference, error) from error
            received = f"{reference.repository} at {reference.revision[:8]}, which is not in the local cache"
            fix = "set AYS_ALLOW_HUB=1 to let the worker download it, or download it yourself: hf download"
            raise ModelError.of(where, received=received, expected="its files", fix=fix) from error
        except (RepositoryNotFoundError, RevisionNotFoundError, HfHubHTTPError, OSError) as error:
            raise _unreachable(where, reference, error) from error


def _unreachable(where: str, reference: HubReference, error: Exception) -> ModelError:
    received = f"{reference.repository} at {reference.revision[:8]} ({type(error).__name__}: {str(error).splitlines()[0]})"
    fix = "correct hub and revision, or the way to the hub; for a gated repository set HF_TOKEN"
    return ModelError.of(where, received=received, expected="a repository and commit of the hub", fix=fix)
