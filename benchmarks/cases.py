"""The models of the benchmark, and how much of each it measures."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.classifier import Judge, pixel_judge, stored_judge, train_judge
from benchmarks.rough import ROUGH, Perceptron, RoughDenoiser, train
from benchmarks.untuned.emoji.data import stored_held_out
from benchmarks.untuned.models import UNTUNED
from benchmarks.untuned.spiral.data import law as spiral_law
from worker.ays.analytic import AnisotropicGaussian, GaussianMixture
from worker.ays.noise import EDM, VE
from worker.models.digits.data import digit_labels, digits
from worker.models.fingerprint import digest
from worker.models.loaded import LoadedModel
from worker.models.registry import Registry

KEPT = Path("out/bench")
"""Where rough networks and finished cells are kept between runs."""

SOLVER_NAMES = ("ddim", "dpmpp_2m", "sddim", "dpmpp_2m_sde")
MORE_SOLVERS = ("dpmpp_3m", "unipc", "deis", "ipndm", "dpmpp_3m_sde")
"""The solvers that every model is measured with, and those of a smaller table."""


@dataclass(frozen=True)
class Case:
    """One model of the benchmark.

    Attributes:
        id: name in the tables.
        title: one line for people.
        counts: numbers of evaluations.
        solvers: solvers of these.
        noises: fresh noises that judge every schedule.
        seeds: seeds of the methods; each is a search of its own.
        limits: numbers of evaluations for which direct optimization is run.
        more: numbers of evaluations for `MORE_SOLVERS`.
        density: whether the density is known, so that a likelihood can be computed.
    """

    id: str
    title: str
    counts: tuple[int, ...] = (5, 8, 12, 20)
    solvers: tuple[str, ...] = SOLVER_NAMES
    noises: int = 512
    seeds: tuple[int, ...] = (0, 1)
    limits: tuple[int, ...] = (5, 8)
    more: tuple[int, ...] = ()
    density: bool = False

    @property
    def cells(self) -> list[tuple[int, str]]:
        """Numbers of evaluations and solvers."""
        asked = (self.counts, self.solvers), (self.more, MORE_SOLVERS)
        return [(nfe, solver) for counts, solvers in asked for nfe in counts for solver in solvers]


CASES = (
    Case(
        "fashion",
        "Fashion-MNIST 28 x 28, EDM network",
        counts=(10,),
        solvers=("ddim", "dpmpp_2m"),
        noises=64,
        seeds=(0,),
        limits=(),
    ),
    Case("digits", "handwritten digits 8 x 8, DDPM network", noises=256, seeds=(0, 1, 2), limits=(8,)),
    Case("gaussian-3072", "Gaussian with a 1/f^2 spectrum in 3,072 dimensions (exact)", noises=128, density=True),
    Case(
        "mixture",
        "64 sharp Gaussians in the plane (exact)",
        counts=(5, 6, 8, 10, 15, 20),
        noises=1024,
        seeds=tuple(range(8)),
        more=(8,),
        density=True,
    ),
    Case("rough-brief", "digits, perceptron trained for 300 steps", more=(8,)),
    Case("rough-top", "digits, perceptron that never saw sigma above 3"),
    # Along the SDE this network sends its references away (norms in the hundreds): there is nothing to come near to.
    Case("rough-gap", "digits, perceptron that never saw sigma from 0.15 to 8", solvers=("ddim", "dpmpp_2m")),
)

UNTUNED_CASES = (
    Case("untuned-spiral", "two spiral arms in the plane, v-prediction (untuned)", noises=1024, density=True),
    Case("untuned-emoji-16", "emoji 16 x 16 in colour, flow network (untuned)", counts=(5, 8, 12), noises=64, seeds=(0,), limits=()),
)
"""Models that no constant of the search was chosen on; what is claimed of them nobody could have fitted."""

QUICK = (
    Case("mixture", "64 sharp Gaussians in the plane (exact)", counts=(5,), noises=64, seeds=(0,), limits=(5,), density=True),
    Case("rough-brief", "digits, perceptron trained for 300 steps", counts=(5,), noises=64, seeds=(0,), limits=()),
)


def image_gaussian(side: int = 32, channels: int = 3) -> AnisotropicGaussian:
    """Gaussian whose variances fall with the square of the spatial frequency, as in natural images; mean variance 1/4.

    A coordinate is a Fourier mode of a `side` x `side` image; the constant mode has the variance of frequency one.
    """
    frequency = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64)
    squared = (frequency[:, None] ** 2 + frequency[None, :] ** 2).clamp(min=1.0)
    raw = (1 / squared).flatten().repeat(channels)
    return AnisotropicGaussian(raw / raw.mean() * 0.25)


@cache
def load(case_id: str) -> LoadedModel:
    """Load a model by its name in the tables."""
    if case_id in ROUGH:
        return _rough(case_id)
    if case_id in UNTUNED:
        return UNTUNED[case_id]()
    if case_id == "gaussian-3072":
        law = image_gaussian()
        process = VE(sigma_min=law.sigma_min, sigma_max=law.sigma_max)
        return LoadedModel(
            id=case_id,
            title=case_id,
            denoiser=law,
            process=process,
            fingerprint=digest({"analytic": case_id}),
            prediction_type=None,
            guidance_scale=None,
            data=law.sample_data,
        )
    return Registry(None).load(case_id)


def _rough(case_id: str) -> LoadedModel:
    """A rough network, trained now or kept from an earlier run."""
    path = KEPT / f"{case_id}.safetensors"
    roughness = repr(ROUGH[case_id])
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(train(ROUGH[case_id]).net.state_dict(), path)
    denoiser = RoughDenoiser(Perceptron(64))
    denoiser.net.load_state_dict(load_file(path))
    denoiser.net.eval().requires_grad_(False)
    images = digits()[0]

    def data(n: int, generator: torch.Generator) -> Tensor:
        return images[torch.randint(len(images), (n,), generator=generator)]

    return LoadedModel(
        id=case_id,
        title=case_id,
        denoiser=denoiser,
        process=EDM(sigma_min=denoiser.sigma_min, sigma_max=denoiser.sigma_max, sigma_data=0.7),
        fingerprint=digest({"rough": case_id, "recipe": roughness}),
        prediction_type=None,
        guidance_scale=None,
        data=data,
    )


Likelihood = Callable[[Tensor], Tensor]


def negative_log_density(model: LoadedModel) -> Likelihood:
    """Negative log-density of the data law per dimension, where it is known; samples of shape (n, *shape) -> (n,)."""
    density = log_density(model)
    assert density is not None
    return lambda samples: -density(samples) / samples[0].numel()


def log_density(model: LoadedModel) -> Likelihood | None:
    """Log-density of the data law, samples of shape (n, *shape) -> (n,); None where it is not known."""
    law = spiral_law() if model.id == "untuned-spiral" else model.denoiser
    return (lambda samples: law.log_density(samples.double())) if isinstance(law, AnisotropicGaussian | GaussianMixture) else None


@cache
def judge_of(case_id: str) -> Judge | None:
    """The features that judge a model's samples, of a classifier or of coarse pixels; None where there are no images."""
    if case_id == "untuned-emoji-16":
        return pixel_judge(stored_held_out(), side=8)
    if case_id == "fashion":
        return stored_judge("fashion", 28)
    if case_id == "digits" or case_id in ROUGH:
        (images, held_out), (labels, _) = digits(), digit_labels()
        return train_judge(images, labels, held_out, epochs=40)
    return None
