"""The commands and their options."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ays_client.client import Fallback
from ays_client.contract import Effort, JobRequest, Method, Priority, Solver, Source, Terminal
from ays_client.curve import CurveRequest
from ays_client.formats import Format, render
from ays_process.commands import module_command
from ays_process.environment import names_redis
from ays_store.api_keys import Scope
from service.cli.archive import export_archive, import_archive
from service.cli.connect import connect
from service.cli.curve import curve_through_api, read_curve
from service.cli.demo import demo as run_demo
from service.cli.doctor import doctor as examine
from service.cli.exits import CommandError, ExitCode, ending
from service.cli.forget import forget_results
from service.cli.keys import create_key, list_keys, revoke_key
from service.cli.optimize import in_process, through_api
from service.cli.serve import serve as run_serve
from service.cli.tables import error_table, models_table, schedule_table, show
from service.local.stack import Stack
from service.settings import load_settings

app = typer.Typer(
    help="Optimized sampling schedules for diffusion models.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

keys = typer.Typer(help="API keys of the service.", no_args_is_help=True)
app.add_typer(keys, name="keys")

Model = Annotated[str, typer.Argument(help="id of a model; `ays models` lists them")]
Nfe = Annotated[int, typer.Option(help="evaluations of the denoiser per sample")]
SolverName = Annotated[Solver, typer.Option(help="the solver that will run the schedule")]
TerminalName = Annotated[Terminal, typer.Option(help="where the last step ends")]
MethodName = Annotated[Method, typer.Option(help="how it is found: ours, or the paper's search")]
Url = Annotated[str, typer.Option(envvar="AYS_URL", help="address of the service")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Data = Annotated[Path, typer.Option(envvar="AYS_DATA", help="folder of the embedded Redis")]

_URL = "http://127.0.0.1:8000"
_DATA = Path(".ays")


def main() -> None:
    """Run `ays` and exit with its status."""
    words = sys.argv[1:] or ["--help"]
    sys.exit(ending(lambda: app(words, prog_name="ays", standalone_mode=False)))


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port to listen on; 0: any free one")] = 8000,
    workers: Annotated[int, typer.Option(min=0, max=64, help="number of workers; 0: they run elsewhere")] = 1,
    data: Data = _DATA,
) -> None:
    """Run the API, the workers and, unless AYS_REDIS_URL names one, a Redis of our own, until Ctrl-C."""
    stack = _stack(host=host, port=port, workers=workers, data=data, log_to_files=False)
    run_serve(stack, asks_for_keys=load_settings().model_copy(update={"host": host}).asks_for_keys)


@app.command()
def worker() -> None:
    """Run one worker on the Redis that AYS_REDIS_URL names."""
    os.execv(sys.executable, module_command("worker"))


@app.command()
def optimize(
    model: Model,
    nfe: Nfe = 8,
    solver: SolverName = Solver.DPMPP_2M,
    terminal: TerminalName = Terminal.ZERO,
    method: MethodName = Method.PROFILE,
    detail: Annotated[str, typer.Option(help="`auto`, or the exponent p of the weight sigma^p, 0 to 4")] = "auto",
    effort: Annotated[Effort, typer.Option(help="how much validation and refinement is spent")] = Effort.STANDARD,
    webhook: Annotated[str | None, typer.Option(help="URL that the service tells how the job ends")] = None,
    priority: Annotated[Priority, typer.Option(help="batch: others may go first")] = Priority.INTERACTIVE,
    local: Annotated[bool, typer.Option("--local", help="compute here, without the service and without Redis")] = False,
    as_json: Json = False,
    url: Url = _URL,
) -> None:
    """Optimize a schedule, with live progress."""
    if local and webhook is not None:
        msg = "received --webhook and --local; only the service tells a URL: leave one out"
        raise CommandError(msg, ExitCode.BAD_INPUT)
    target = {"model": model, "nfe": nfe, "solver": solver, "terminal": terminal, "method": method}
    body = {**target, "detail": detail, "effort": effort}
    request = JobRequest.model_validate(body)
    if local:
        schedule = in_process(request)
    else:
        schedule, cached = through_api(request, url, webhook=webhook, priority=priority)
        if cached:
            sys.stderr.write("cache hit: this request was answered before\n")
    if as_json:
        _print(schedule.model_dump_json(indent=2))
        return
    errors = error_table(schedule)
    show(schedule_table(schedule), *([errors] if errors else []))


@app.command()
def curve(
    file: Annotated[Path, typer.Argument(help="CSV file: sigma, denoising loss")],
    nfe: Nfe = 10,
    solver: SolverName = Solver.SDDIM,
    terminal: TerminalName = Terminal.ZERO,
    method: MethodName = Method.PROFILE,
    detail: Annotated[str, typer.Option(help="`auto`, or the exponent p of the weight sigma^p, 0 to 4")] = "auto",
    kind: Annotated[str, typer.Option(help="process of the model, for its native times: ve, edm or flow")] = "ve",
    form: Annotated[Format | None, typer.Option("--format", help="print it for a tool")] = None,
    local: Annotated[bool, typer.Option("--local", help="compute here, without the service and without Redis")] = False,
    url: Url = _URL,
) -> None:
    """Make a schedule from a denoising-loss curve alone: no weights, no model, no GPU."""
    asked = {"nfe": nfe, "solver": solver, "terminal": terminal, "method": method, "detail": detail, "kind": kind}
    request = CurveRequest.model_validate({**read_curve(file), **asked})
    found = in_process(request) if local else curve_through_api(request.model_dump(mode="json"), url)
    if form is None:
        show(schedule_table(found))
    else:
        _print(render(found, form))


@app.command()
def schedule(
    model: Model,
    nfe: Nfe = 8,
    solver: SolverName = Solver.DPMPP_2M,
    terminal: TerminalName = Terminal.ZERO,
    method: MethodName = Method.PROFILE,
    form: Annotated[Format, typer.Option("--format", help="the tool that will read it")] = Format.JSON,
    shift: Annotated[float | None, typer.Option(min=0.01, max=100, help="flow models: the shift that the tool will apply")] = None,
    fallback: Annotated[Fallback, typer.Option(help="what may be served when nothing is cached")] = "none",
    url: Url = _URL,
) -> None:
    """Print a cached schedule in the format of a tool."""
    with connect(url) as client:
        found = client.schedule(model, nfe=nfe, solver=solver, terminal=terminal, method=method, fallback=fallback)
    if found.source is not Source.OPTIMIZED:
        sys.stderr.write(f"note: this schedule is {found.source.value}, not optimized\n")
    _print(render(found, form, shift=shift))


@app.command()
def models(as_json: Json = False, url: Url = _URL) -> None:
    """List the models that can be asked for."""
    with connect(url) as client:
        found = client.models()
    if as_json:
        _print("[" + ",".join(model.model_dump_json() for model in found) + "]")
    else:
        show(models_table(found))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder of the picture")] = Path("out"),
    data: Data = _DATA,
) -> None:
    """Start everything, fit a schedule to the bundled model, show what it buys, and shut down."""
    run_demo(_stack(host="127.0.0.1", port=0, workers=1, data=data, log_to_files=True), out)


@app.command()
def doctor(as_json: Json = False, data: Data = _DATA, url: Url = _URL) -> int:
    """Check everything that has to be right: environment, Redis, workers, models, device, disk, versions; each with a fix."""
    return examine(url=url, data=data, as_json=as_json)


@keys.command("create")
def keys_create(
    name: Annotated[str, typer.Option(help="what it is for")],
    scope: Annotated[Scope, typer.Option(help="what it is good for: reading; submitting jobs, too; everything")] = Scope.READ,
    data: Data = _DATA,
) -> None:
    """Make a key and print it to standard output, once."""
    create_key(name, scope, data=data)


@keys.command("list")
def keys_list(as_json: Json = False, data: Data = _DATA) -> None:
    """List the keys: their ids, names, scopes and last use."""
    list_keys(data=data, as_json=as_json)


@keys.command("revoke")
def keys_revoke(key: Annotated[str, typer.Argument(help="id of the key; `ays keys list` shows it")], data: Data = _DATA) -> None:
    """Revoke a key."""
    revoke_key(key, data=data)


@app.command("export")
def export_results(
    file: Annotated[Path, typer.Argument(help="the archive to write; `-`: standard output")],
    model: Annotated[list[str] | None, typer.Option(help="only this model; may be given several times")] = None,
    curves: Annotated[bool, typer.Option(help="with loss curves and their schedules")] = True,
    data: Data = _DATA,
) -> int:
    """Write profiles and schedules to a file, for another installation or as a backup."""
    return export_archive(file, models=model or (), curves=curves, data=data)


@app.command()
def forget(
    model: Annotated[str, typer.Argument(help="id of a model, or of a loss curve")],
    profile: Annotated[str | None, typer.Option(help="only the schedules of this profile")] = None,
    data: Data = _DATA,
) -> None:
    """Drop the profiles and schedules of a model."""
    forget_results(model, profile=profile, data=data)


@app.command("import")
def import_results(
    file: Annotated[Path, typer.Argument(help="the archive to read; `-`: standard input")],
    model: Annotated[list[str] | None, typer.Option(help="only this model; may be given several times")] = None,
    data: Data = _DATA,
) -> None:
    """Take profiles and schedules over from a file; what is better here stays."""
    import_archive(file, models=model or (), data=data)


def _stack(*, host: str, port: int, workers: int, data: Path, log_to_files: bool) -> Stack:
    # Before anything starts, and all mistakes at once.
    settings = load_settings()
    return Stack(
        host=host,
        port=port,
        workers=workers,
        redis_url=settings.redis_url if names_redis(os.environ) else None,
        data=data,
        log_to_files=log_to_files,
        say=lambda message: typer.echo(message, err=True),
    )


def _print(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
