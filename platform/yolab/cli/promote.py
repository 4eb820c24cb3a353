"""yolab promote: the best run becomes the registry's champion, if it passes the gates."""

import re
from pathlib import Path
from typing import Annotated

import typer

from yolab.cli.output import JsonOption, console, print_json


def promote(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    sweep: Annotated[str | None, typer.Option(help="Take the best trial of this sweep.")] = None,
    run: Annotated[str | None, typer.Option(help="Take this run, by name or MLflow id.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Take this .safetensors file, such as an imported one.")] = None,
    data: Annotated[Path | None, typer.Option(help="With --weights: the data set that it proves itself on.")] = None,
    split: Annotated[str, typer.Option(help="With --weights: which annotations to score against.")] = "val2017",
    min_ap50: Annotated[float, typer.Option(min=0, max=1, help="Refuse a model below this.")] = 0.0,
    home: Annotated[Path, typer.Option(help="The folder that keeps the runs.")] = Path("runs"),
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Fold a run's model, prove that it is the same and good enough, register it, set the alias `champion`.

    Exit code 3 if a gate says no. Example: yolab promote blood-cells --sweep scaling --min-ap50 0.5
    """
    from yolab.errors import UsageError
    from yolab.registry import promote as registry
    from yolab.tracking import mlflow_runs, record

    if sum(given is not None for given in (sweep, run, weights)) != 1 or (weights is None) != (data is None):
        raise UsageError("Say what to promote: --sweep NAME, or --run NAME, or --weights FILE with --data DIR.")
    if not re.fullmatch(r"[^/:.%'\"]+", name):
        raise UsageError(f"A registered model can't be named {name!r}: leave out / : . % and quotes.")
    uri = mlflow_runs.default_uri(home)
    if weights is not None and data is not None:
        chosen = registry.imported_run(uri, weights, data, split)
    else:
        chosen = registry.best_run(uri, sweep) if sweep else record.named_run(uri, str(run))
    with console.status(f"Promoting {chosen['name']} …"):
        done = registry.promote(uri, chosen, name, min_ap50)
    for verdict in done.verdicts:
        console.print(f"gate passed: {verdict.gate} ({verdict.measured})", highlight=False)
    what = "is now" if done.new else "was already"
    console.print(f"{done.run_name} {what} {name} version {done.version}, models:/{name}@{registry.CHAMPION}")
    if as_json:
        print_json({"name": name, "version": done.version, "run": done.run_name, "new": done.new, **done.metrics})
