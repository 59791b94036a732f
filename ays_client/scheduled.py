"""What a scheduler class gains by a schedule: the levels, where to start among them, and a stock scheduler for what it cannot serve.

Pipelines tell where img2img starts as an index into the stock timesteps of their `num_inference_steps`. So the scheduler asks a stock one
which noise level that is, and starts there (`ays_client.starts`). Where it cannot tell, the stock scheduler runs the call in its place.
"""

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ays_client.errors import ScheduleRefused
from ays_client.notices import warn_once
from ays_client.start_index import counting_timesteps
from ays_client.starts import Levels, from_level, through_level, twice_inside
from ays_client.stock_scheduler import KEY, Asked, Call, ask, cutoff_of, first_below, level_at, stock_of


class Scheduled:
    """What a scheduler class gains by a schedule: the mixin before it in the order of its bases."""

    _base: Any
    _internal_dict: Any
    sigmas: Any
    num_inference_steps: Any
    _running: Any = None
    _inside = False
    _asked: Asked | None = None
    _call = Call()
    _begun = False
    _pending: tuple[int, float] | None = None
    _in_our_steps = False
    _stock: Any = None
    _times: Any
    _shift: Any

    @property
    def config(self) -> Any:
        """The stock configuration and the schedule; to the class's own methods, the one that runs it."""
        return self._running if self._inside else self._internal_dict

    @property
    def timesteps(self) -> Any:
        """Times of the levels to come; a slice from an index on is the part that the stock schedule means by it."""
        whole = self._asked is not None and self._stock is None and not (self._inside or self._begun)
        return counting_timesteps(self._times, self) if whole else self._times

    @timesteps.setter
    def timesteps(self, value: Any) -> None:
        self._times = value

    @property
    def schedule_values(self) -> Mapping[str, Any]:
        """The schedule as its configuration holds it."""
        values: Mapping[str, Any] = self._internal_dict[KEY]
        return values

    @property
    def stands_aside(self) -> bool:
        """Whether a stock scheduler runs the call in its place."""
        return self._stock is not None

    @property
    def steps(self) -> int:
        """Steps to come, from where it starts."""
        return (len(self._times) + 1) // 2 if self.schedule_values["twice"] else len(self._times)

    @contextmanager
    def called(self, call: Call) -> Iterator[None]:
        """A block in which it is known of a pipeline's call what `set_timesteps` is not told."""
        self._call = call
        try:
            yield
        finally:
            self._call = Call()

    def _set_timesteps(self, num_inference_steps: int | None = None, device: Any = None, *more: Any, **others: Any) -> None:
        """Start anew with the whole schedule, whatever is asked for; what was asked for tells what a start in it means."""
        if KEY not in self._internal_dict:  # Some constructors call this one.
            self._base.set_timesteps(self, num_inference_steps, device=device)
            return
        names = list(inspect.signature(self._base.set_timesteps).parameters)[3:]
        self._asked = Asked(self._call.steps or num_inference_steps, device, others | dict(zip(names, more, strict=False)))
        self._stock, self._begun, self._pending, self._in_our_steps = None, False, None, False
        vars(self).pop("order", None)
        try:
            self._take(self._whole())
        except Exception as error:
            self._stand_aside(error)

    def steps_asked(self) -> int:
        """The number of steps that a pipeline counts in, with the stock scheduler that it has."""
        return (self._asked and self._asked.counted) or self.steps

    def start_unknown(self, why: str) -> None:
        """Have the pipeline's own scheduler run the rest of this call: where it starts is told in a way that is not understood."""
        self._call = self._call._replace(unknown=why)

    def as_asked(self) -> Any:
        """A stock scheduler, as the pipeline would have asked it for this call."""
        stock = stock_of(self)
        if "_shift" in vars(self):  # As it was set since.
            stock.set_shift(self._shift)
        ask(stock, self._asked or Asked(None, None, {}), default=self.steps)
        return stock

    def begin(self, index: int) -> None:
        """Start where the stock schedule of this call has an index of its timesteps, instead of at its first level."""
        if index <= 0:
            return
        try:
            self._take(self.part(index))
            self._begun = True
        except Exception as error:
            self._stand_aside(error)
            if hasattr(self._stock, "set_begin_index"):
                self._stock.set_begin_index(index)

    def part(self, index: int) -> Levels:
        """The part of the schedule that starts where the stock schedule of this call has an index of its timesteps."""
        whole = self._whole()
        if self._in_our_steps:
            index = index // 2 if self.schedule_values["twice"] else index
            return Levels(whole.sigmas[index:], whole.times[index:])
        stock = self.as_asked()
        return from_level(whole, *level_at(stock, index))

    def slice_from(self, index: int) -> Any:
        """What a slice of the stock timesteps from an index on stands for; sampling starts there if it is sampled by."""
        try:
            start = self._in_stock_steps(index)
            part = self.part(start)
        except Exception as error:
            self._stand_aside(error)
            return self._times[index:]
        self._pending = (start, part.times[0])
        return self._times.new_tensor(self._listed(part).times)

    def count_in_our_steps(self) -> None:
        """Take the next index for one into its own timesteps: it has been found by comparing them."""
        self._in_our_steps = True

    def _in_stock_steps(self, index: int) -> int:
        """An index of a pipeline that was given levels, and so counts in the number of timesteps that it found."""
        if self._in_our_steps or self._asked is None or self._asked.levels is None:
            return index
        return round(index / self.steps * self.steps_asked())

    def _set_begin_index(self, begin_index: int = 0) -> None:
        """Start at an index of the stock timesteps of this call."""
        if self._stock is None and not self._begun:
            self.begin(self._in_stock_steps(begin_index))
        elif hasattr(self._stock, "set_begin_index"):
            self._stock.set_begin_index(begin_index)
        self._base.set_begin_index(self, 0)

    def _step(self, model_output: Any, timestep: Any, *args: Any, **kwargs: Any) -> Any:
        """One step of the class's own method, or of the pipeline's own scheduler where that runs the call."""
        sample = args[0] if args else kwargs["sample"]
        if self._stock is None:
            # DDIMPipeline passes them to whatever scheduler it has; this one's randomness is its solver's.
            kwargs = {name: value for name, value in kwargs.items() if name not in {"eta", "use_clipped_model_output"}}
            if str(self._internal_dict.get("variance_type")).startswith("learned") and model_output.shape[1] == 2 * sample.shape[1]:
                # The second half is the logarithm of a variance, which no solver of a schedule uses.
                model_output = model_output[:, : sample.shape[1]]
        return self._pass("step", timestep, model_output, timestep, *args, **kwargs)

    def _scale_model_input(self, sample: Any, *args: Any, **kwargs: Any) -> Any:
        """The network's input of a state."""
        if self._stock is None and not hasattr(self._base, "scale_model_input"):
            return sample
        timestep = args[0] if args else kwargs.get("timestep")
        return self._pass("scale_model_input", timestep, sample, *args, **kwargs)

    def _add_noise(self, original_samples: Any, noise: Any, timesteps: Any) -> Any:
        """An image at the noise level where it starts."""
        if self._stock is None and not hasattr(self._base, "add_noise"):
            return self._pass("scale_noise", timesteps, original_samples, timesteps, noise)
        if self._stock is None and self.schedule_values["whole_times"]:
            timesteps = timesteps.round().long()
        return self._pass("add_noise", timesteps, original_samples, noise, timesteps)

    def _scale_noise(self, sample: Any, timestep: Any, noise: Any) -> Any:
        """The same, by the name it has in the pipelines of flow models."""
        if self._stock is None and not hasattr(self._base, "scale_noise"):
            return self._add_noise(sample, noise, timestep)
        return self._pass("scale_noise", timestep, sample, timestep, noise)

    def _pass(self, method: str, timestep: Any, *args: Any, **kwargs: Any) -> Any:
        if self._stock is not None:
            known = inspect.signature(getattr(self._stock, method)).parameters
            return getattr(self._stock, method)(*args, **{name: value for name, value in kwargs.items() if name in known})
        if self._pending is not None and timestep is not None:
            self._settle(timestep)
        with self._in_class():
            return getattr(self._base, method)(self, *args, **kwargs)

    def _settle(self, timestep: Any) -> None:
        """Whether the slice that was taken is sampled by, is known from the first time that is met."""
        (index, start), self._pending = self._pending or (0, math.nan), None
        first = float(timestep.flatten()[0] if hasattr(timestep, "flatten") else timestep)
        if math.isclose(first, start, rel_tol=1e-6):
            self.begin(index)

    @contextmanager
    def _in_class(self) -> Iterator[None]:
        before, self._inside = self._inside, True
        try:
            yield
        finally:
            self._inside = before

    def _whole(self) -> Levels:
        if self._call.unknown:
            raise ValueError(self._call.unknown)
        values = self.schedule_values
        whole = Levels(list(values["sigmas"]), list(values["timesteps"]))
        return whole if self._call.end is None else self._ending(whole, self._call.end)

    def _ending(self, whole: Levels, end: float) -> Levels:
        """The schedule through the level where the stock one would hand over to a refiner."""
        stock, cutoff = self.as_asked(), cutoff_of(self, end)
        index = first_below(stock, cutoff)
        return whole if index == len(stock.timesteps) else through_level(whole, *level_at(stock, index), cutoff)

    def _listed(self, part: Levels) -> Levels:
        return twice_inside(part) if self.schedule_values["twice"] else part

    def _take(self, part: Levels) -> None:
        device = None if self._asked is None else self._asked.device
        with self._in_class():
            # Its levels are overwritten, but it resets the rest of the state.
            self._base.set_timesteps(self, part.steps, device=device)
            listed = self._listed(part)
            self.sigmas = self.sigmas.new_tensor(listed.sigmas)
            self.timesteps = self._times.new_tensor(listed.times, dtype=self.sigmas.dtype)
            self.num_inference_steps = part.steps

    def _stand_aside(self, error: Exception) -> None:
        """Have a stock scheduler run this call."""
        name = self._base.__name__
        if self.schedule_values["strict"]:
            raise ScheduleRefused.of(name, why=f"this call cannot be served: {error}", fix="call restore(pipe) before it") from error
        warn_once(f"{name}: the pipeline's own schedule runs a call that the applied one cannot serve: {error}")
        self._stock = stock = self.as_asked()
        self._times, self.num_inference_steps = stock.timesteps, stock.num_inference_steps
        self._pending = None
        self.sigmas = getattr(stock, "sigmas", self.sigmas)
        vars(self)["order"] = stock.order
