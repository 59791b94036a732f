"""How a stock scheduler becomes a `FittedScheduler`: `configuration_of(stock, schedule)`."""

from typing import Any

from ays_client.contract import Schedule
from ays_client.formats import model_levels
from ays_client.noise_process import check_prediction


def configuration_of(stock: Any, schedule: Schedule) -> dict[str, object]:
    """Changes of a stock scheduler's configuration with which a `FittedScheduler` runs the schedule in its place.

    Args:
        stock: a scheduler of a class in our rules, of the schedule's kind of model.
        schedule: a fitted schedule.

    Raises:
        ScheduleRefused: the schedule's kind of model has no scheduler in diffusers.
    """
    kind, flow = schedule.kind, schedule.kind == "flow"
    predicts = "flow_prediction" if flow else stock.config.get("prediction_type", "epsilon")
    if kind == "edm" and predicts == "epsilon" and not type(stock).__name__.startswith("EDM"):
        # Euler on continuous times takes it for the noise itself, without EDM's preconditioning.
        predicts = "noise"
    check_prediction(kind, predicts)
    steps: float = stock.config["num_train_timesteps"]
    levels = model_levels(schedule)
    return {
        "noise_process": kind,
        "prediction_type": predicts,
        "sigma_data": stock.config.get("sigma_data", 1.0),
        "sigmas": levels,
        "timesteps": [steps * level for level in levels[:-1]] if flow else list(schedule.timesteps),
        "weights": schedule.weights,
    }
