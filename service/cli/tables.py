"""Tables for people, on standard output."""

from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from ays_client.contract import Estimate, Model, Schedule, Source

_PIPE_WIDTH = 140
_SAMPLERS = {"stock": "on the best stock schedule", "fixed": "of the best fixed solver on its own schedule"}


class Titled(NamedTuple):
    """A table under its title, which may be wider."""

    title: str
    table: Table


def show(*tables: Titled) -> None:
    """Print tables; into a pipe they are as wide as they need to be, without colour."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    for title, table in tables:
        console.print(title, style="bold", highlight=False, markup=False, soft_wrap=True)
        console.print(table)


def schedule_table(schedule: Schedule) -> Titled:
    """The levels of a schedule: the model is evaluated at every row but the last."""
    title = f"{schedule.model}: {schedule.nfe} evaluations, {schedule.solver.value} ({schedule.source.value}"
    title += ", validated)" if schedule.validated else ")"
    table = _table("step", "sigma", "timestep")
    for step, sigma in enumerate(schedule.sigmas):
        time = f"{schedule.timesteps[step]:.4f}" if step < len(schedule.timesteps) else "end"
        table.add_row(str(step), f"{sigma:.6g}", time)
    return Titled(title, table)


def error_table(schedule: Schedule) -> Titled | None:
    """Error of the stock schedules and of this one, smallest last; None for a schedule that was not validated."""
    error = schedule.error
    if error is None:
        return None
    title = f"error at this NFE: mean squared distance to the reference, {error.noises} noise samples that took part in no choice"
    if error.ratio is not None and error.median_ratio is not None:
        low, high = error.ratio.interval
        title += f"\n{error.ratio.value:.2g} [{low:.2g}, {high:.2g}] of {error.best_stock}'s, the best stock schedule"
        # A mean of heavy-tailed errors says little of the usual sample.
        title += f"; on half of the samples at most {error.median_ratio:.2g}"
    if error.equivalent_nfe:
        title += "\nas good as " + " and ".join(f"{nfe:.2g} evaluations {_SAMPLERS[name]}" for name, nfe in error.equivalent_nfe.items())
    if error.psnr_db is not None:
        title += f"; {error.psnr_db:.1f} dB against the reference"
    table = _table("schedule", "error", "95 % interval", "median", "of the best stock")
    best = min((estimate.mean for estimate in error.stock.values()), default=error.ours.mean)
    for name, estimate in sorted(error.stock.items(), key=lambda item: -item[1].mean):
        table.add_row(f"stock: {name}", *_numbers(estimate, best))
    answer = "fitted" if schedule.weights is not None else "optimized"
    if schedule.source is Source.STOCK:
        answer = f"served: {schedule.provenance.candidate}"
    table.add_row(answer, *_numbers(error.ours, best), style="bold")
    return Titled(title, table)


def models_table(models: list[Model]) -> Titled:
    """The models that can be asked for."""
    table = _table("id", "title", "kind", "shape", "sigma range", "profile", "schedules")
    for model in models:
        shape = " x ".join(str(size) for size in model.shape) if model.shape else "-"
        levels = f"{model.sigma_min:.4g} .. {model.sigma_max:.4g}" if model.sigma_min and model.sigma_max else "-"
        profile = "published" if model.published and model.profile_state == "none" else model.profile_state
        table.add_row(model.id, model.title, model.kind or "-", shape, levels, profile, str(model.schedules))
    return Titled("models", table)


def _numbers(estimate: Estimate, best: float) -> tuple[str, str, str, str]:
    ratio = f"{estimate.mean / best:.2f}" if best > 0 else "-"
    interval = "-" if estimate.interval is None else f"{estimate.interval[0]:.3g} .. {estimate.interval[1]:.3g}"
    median = "-" if estimate.median is None else f"{estimate.median:.3g}"
    return f"{estimate.mean:.4g}", interval, median, ratio


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE)
    for column in columns:
        table.add_column(column, justify="left" if column in {"id", "title", "schedule", "kind", "profile"} else "right")
    return table
