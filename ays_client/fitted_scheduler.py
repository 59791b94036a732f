"""`FittedScheduler`: the diffusers scheduler that runs a fitted schedule.

Importing this module imports torch and diffusers; `ays_client.schedulers` does so once it is given a fitted schedule.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from torch import Tensor

from ays_client.durable import durable
from ays_client.errors import ScheduleRefused
from ays_client.fitted import known_weights, weights_at
from ays_client.noise_process import NoiseProcess, check_prediction
from ays_client.stock_scheduler import KEY


class FittedScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """Multistep sampler with levels and weights of its own, for DDPM (VP), EDM and flow-matching networks.

    A step keeps a share of the state and adds a weighted sum of the last estimates of the clean sample,
    `x_(i+1) = r x_i + (1 - r) sum_m w_i[m] D_(i-m)` with `r = sigma_(i+1) / sigma_i`, where `x = x_0 + sigma eps`; a step to level 0
    returns the sum. After a late start (img2img) the first estimate stands for the missing ones. The state is carried in float32 at
    least, whatever the network's type.

    Args:
        num_train_timesteps: number of timesteps of the network's training.
        noise_process: `vp`, `edm` or `flow`.
        prediction_type: what the network predicts: `epsilon`, `v_prediction`, `sample`, or `flow_prediction`.
        sigma_data: standard deviation of the data that an EDM network is preconditioned for.
        sigmas: steps + 1 decreasing levels, noise-to-signal ratios; of flow models `t` in [0, 1], after any shift.
        timesteps: times of the levels that are evaluated, as the network takes them.
        weights: weights of each step, newest estimate first, of sum 1.

    Raises:
        ScheduleRefused: there is no formula for what the network predicts, or the lists do not belong together.
    """

    order = 1
    _compatibles: list[str] = []  # noqa: RUF012 - as diffusers declares it

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        noise_process: Literal["vp", "edm", "flow"] = "vp",
        prediction_type: str = "epsilon",
        sigma_data: float = 1.0,
        sigmas: Sequence[float] = (1.0, 0.0),
        timesteps: Sequence[float] = (0.0,),
        weights: Sequence[Sequence[float]] = ((1.0,),),
    ) -> None:
        check_prediction(noise_process, prediction_type)
        if not len(sigmas) == len(timesteps) + 1 == len(weights) + 1:
            why = f"received {len(sigmas)} sigmas, {len(timesteps)} timesteps and {len(weights)} lists of weights"
            fix = "pass one more sigma than timesteps, and a list of weights for each timestep"
            raise ScheduleRefused.of(type(self).__name__, why=why, fix=fix)
        self._train_timesteps = num_train_timesteps
        self._process = NoiseProcess(noise_process, prediction_type, sigma_data)
        self._levels, self._weights = tuple(sigmas), tuple(map(tuple, weights))
        self.set_timesteps()

    @classmethod
    def from_config(cls, config: Mapping[str, Any], return_unused_kwargs: bool = False, **changes: Any) -> Any:
        """Make a scheduler of a configuration; keys of other schedulers are kept for them, and not warned about.

        Of a configuration that holds a schedule, a folder's included, it is the one that `ays_client.schedulers.with_schedule` made.
        """
        if KEY in config:
            base: Any = cls
            return durable(base).from_config(config, return_unused_kwargs, **changes)
        names = set(cls._get_init_keys(cls)) - {"self"}
        merged = {**config, **changes}
        made = cls(**{name: value for name, value in merged.items() if name in names})
        made.register_to_config(**{name: value for name, value in merged.items() if name not in names})
        return (made, {}) if return_unused_kwargs else made

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: Any = None,
        mu: float | None = None,
        timesteps: Any = None,
    ) -> None:
        """Begin a sample. Its steps are those of the configuration, whatever is asked for.

        Args:
            num_inference_steps: not used.
            device: where the timesteps are kept; the levels stay on the CPU.
            sigmas: not used.
            mu: not used.
            timesteps: not used.
        """
        del num_inference_steps, sigmas, mu, timesteps
        self.num_inference_steps = len(self._weights)
        self.sigmas = torch.tensor(self._levels, dtype=torch.float32)
        self.timesteps = torch.tensor(list(self.config["timesteps"]), dtype=torch.float32, device=device)
        self._begin_index: int | None = None
        self._step_index: int | None = None
        self._estimates: list[Tensor] = []
        self._state: Tensor | None = None
        self._returned: Tensor | None = None

    @property
    def init_noise_sigma(self) -> float:
        """Standard deviation of the noise in the state that a sample starts from."""
        _, spread = self._process.scales(self._levels[0])
        return spread

    @property
    def step_index(self) -> int | None:
        """Index of the current step; None before the first one."""
        return self._step_index

    @property
    def begin_index(self) -> int | None:
        """Index of the first step; None where the pipeline does not tell."""
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start at a later step, as img2img does."""
        self._begin_index = begin_index

    def index_for_timestep(self, timestep: float | Tensor, schedule_timesteps: Tensor | None = None) -> int:
        """Index of the step that is nearest in time."""
        times = self.timesteps if schedule_timesteps is None else schedule_timesteps
        return int((times.cpu() - float(timestep)).abs().argmin())

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor) -> Tensor:
        """The network's input, of the shape and type of the state, which is `sample`."""
        self._begin(timestep)
        return sample * self._process.input_scale(self._level(self._step_index or 0))

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool | None = None,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput | tuple[Tensor]:
        """One step of the sampler.

        Args:
            model_output: output of the network, of shape (batch, channels, ...); the second half of twice as many channels, a learned
                variance, is not used.
            timestep: time of the step.
            sample: state, as the last step returned it or as the pipeline has changed it since.
            eta: not used, the sampler adds no noise.
            use_clipped_model_output: not used.
            generator: not used.
            return_dict: whether a `SchedulerOutput` is returned, else a tuple.

        Returns:
            The next state, of the type of the network's output.

        Raises:
            ScheduleRefused: all steps have been made already.
        """
        del eta, use_clipped_model_output, generator
        self._begin(timestep)
        index = self._step_index or 0
        if index >= len(self.timesteps):
            why = f"step {index + 1} of {len(self.timesteps)} was asked for"
            raise ScheduleRefused.of(type(self).__name__, why=why, fix="call set_timesteps before each sample")
        output = model_output.chunk(2, dim=1)[0] if model_output.shape[1] == 2 * sample.shape[1] else model_output
        self._state = self._following(self._exact(sample), output, self._level(index), self._level(index + 1))
        self._returned = self._state.to(model_output.dtype)
        self._step_index = index + 1
        return SchedulerOutput(prev_sample=self._returned) if return_dict else (self._returned,)

    def _following(self, state: Tensor, output: Tensor, high: float, low: float) -> Tensor:
        of_state, of_output = self._process.estimate(high)
        estimate = of_state * state + of_output * output.to(state.dtype)
        self._estimates = [estimate, *self._estimates][: max(map(len, self._weights))]
        weights = known_weights(weights_at(self._levels, self._weights, high, low), len(self._estimates))
        kept, added = self._process.transition(high, low)
        following = kept * state
        for weight, estimate in zip(weights, self._estimates, strict=False):
            following = following + added * weight * estimate
        return following

    def _exact(self, sample: Tensor) -> Tensor:
        """The state without the rounding of what was returned, with all that the pipeline has changed in it."""
        wide = sample if sample.element_size() >= 4 else sample.float()
        if self._state is None or self._returned is None or self._returned.dtype is self._state.dtype:
            return wide
        return self._state + (wide - self._returned.to(wide.dtype))

    def _begin(self, timestep: float | Tensor) -> None:
        if self._step_index is None:
            self._step_index = self.index_for_timestep(timestep) if self._begin_index is None else self._begin_index

    def _level(self, index: int) -> float:
        return float(self.sigmas[min(index, len(self.sigmas) - 1)])

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """States of clean samples at the noise levels of some timesteps.

        Args:
            original_samples: clean samples, of shape (batch, ...).
            noise: standard normal noise of that shape.
            timesteps: times, of shape (batch,) or (1,); once the pipeline has told where it begins, it is the current step's.

        Returns:
            The states, of the shape and type of the samples.
        """
        here = self._begin_index if self._step_index is None else self._step_index
        indices = [self.index_for_timestep(time) if self._begin_index is None else here or 0 for time in timesteps.reshape(-1)]
        signals, spreads = zip(*(self._process.scales(self._level(index)) for index in indices), strict=True)
        shape = [-1, *[1] * (original_samples.ndim - 1)]
        signal, spread = original_samples.new_tensor(signals).reshape(shape), original_samples.new_tensor(spreads).reshape(shape)
        return signal * original_samples + spread * noise

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """`add_noise`, as pipelines of flow models call it."""
        return self.add_noise(sample, noise, timestep)

    def __len__(self) -> int:
        """Number of timesteps of the network's training."""
        return self._train_timesteps
