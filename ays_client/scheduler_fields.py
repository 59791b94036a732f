"""What every constructor argument of the schedulers in our rules means for a schedule: data, and the check of the few that forbid one."""

from typing import Any, Literal, NamedTuple

from ays_client.errors import ScheduleRefused

Meaning = Literal["model", "levels", "method", "values", "guarded"]

FIELDS: dict[str, Meaning] = {
    "num_train_timesteps": "model",
    "beta_start": "model",
    "beta_end": "model",
    "beta_schedule": "model",
    "trained_betas": "model",
    "prediction_type": "guarded",
    "rescale_betas_zero_snr": "model",
    "timestep_type": "model",
    "sigma_data": "model",
    "sigma_min": "model",
    "sigma_max": "model",
    "variance_type": "values",
    "invert_sigmas": "guarded",
    "use_flow_sigmas": "guarded",
    "timestep_spacing": "levels",
    "steps_offset": "levels",
    "interpolation_type": "levels",
    "set_alpha_to_one": "levels",
    "final_sigmas_type": "levels",
    "lambda_min_clipped": "levels",
    "use_karras_sigmas": "levels",
    "use_exponential_sigmas": "levels",
    "use_beta_sigmas": "levels",
    "use_lu_lambdas": "levels",
    "sigma_schedule": "levels",
    "rho": "levels",
    "shift": "levels",
    "flow_shift": "levels",
    "shift_terminal": "levels",
    "use_dynamic_shifting": "levels",
    "time_shift_type": "levels",
    "base_shift": "levels",
    "max_shift": "levels",
    "base_image_seq_len": "levels",
    "max_image_seq_len": "levels",
    "algorithm_type": "method",
    "solver_order": "method",
    "solver_type": "method",
    "solver_p": "method",
    "predict_x0": "method",
    "disable_corrector": "method",
    "predictor_order": "method",
    "corrector_order": "method",
    "tau_func": "method",
    "skip_prk_steps": "method",
    "stochastic_sampling": "method",
    "lower_order_final": "method",
    "euler_at_final": "method",
    "thresholding": "values",
    "dynamic_thresholding_ratio": "values",
    "sample_max_value": "values",
    "clip_sample": "values",
    "clip_sample_range": "values",
}
"""Each argument by what it is about.

`model`: the noise process; a schedule of another one is refused (`ays_client.trust`). `levels`: which levels `set_timesteps` makes;
the schedule's take their place. `method`: the solver, or its last step; it stays (`solver_of` names it), but the last step follows the
schedule's terminal. `values`: what is done to the network's output; it stays, and the second half of an output with learned variances
is dropped. `guarded`: some values of it are refused, by `check_fields`.
"""

UNDONE: dict[str, object] = {
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
    "use_dynamic_shifting": False,
    "shift_terminal": None,
    "lambda_min_clipped": -float("inf"),
    "variance_type": None,
}
"""Values under which `set_timesteps` makes its levels without a word, whichever steps it is asked for, and `step` takes half an output."""


class _Refusal(NamedTuple):
    """Values of an argument that forbid a schedule."""

    why: str
    fix: str


_INVERTED = _Refusal("invert_sigmas=True counts noise levels upwards, from the data", "sample this pipeline with its own schedule")


def check_fields(stock: Any) -> None:
    """Whether a scheduler's configuration can run levels at all.

    Args:
        stock: a scheduler of a class in our rules.

    Raises:
        ScheduleRefused: an argument has a value that does not go with levels of one's own; the message names it.
    """
    config = stock.config
    refusal = _INVERTED if config.get("invert_sigmas") else _flow_refusal(type(stock).__name__, config)
    if refusal is not None:
        raise ScheduleRefused.of(type(stock).__name__, why=refusal.why, fix=refusal.fix)


def _flow_refusal(name: str, config: Any) -> _Refusal | None:
    """Flow models need both of the arguments that say so, in the classes that have both."""
    if name.startswith("FlowMatch") or "use_flow_sigmas" not in config:
        return None
    predicts, flow = config.get("prediction_type") == "flow_prediction", bool(config["use_flow_sigmas"])
    if predicts == flow:
        return None
    why = f"use_flow_sigmas={flow} does not go with prediction_type={config['prediction_type']!r}"
    return _Refusal(why, "give the scheduler both use_flow_sigmas=True and prediction_type='flow_prediction', or neither")
