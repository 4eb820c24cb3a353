"""yolab compare: two runs side by side, and whether they differ."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolab.cli.output import AsJson, StorageOption, UriOption, print_table, show, terminal
from yolab.jobs import compare_job

if TYPE_CHECKING:
    from yolab.jobs.compare_job import Comparison


def compare(
    first: Annotated[str, typer.Argument(help="A run: its name, its MLflow id, or SWEEP/TRIAL.")],
    second: Annotated[str, typer.Argument(help="The run to compare it with.")],
    recipes: Annotated[bool, typer.Option("--recipes", help="Compare the recipes, by all their seeds.")] = False,
    resamples: Annotated[int, typer.Option(min=100, help="Of the images, for the weights' interval.")] = 1000,
    report: Annotated[Path | None, typer.Option(help="A folder for a picture of where they differ most.")] = None,
    storage: StorageOption = None,
    uri: UriOption = None,
    as_json: AsJson = False,
) -> None:
    """Show what two runs scored, how they were described, and whether the difference is more than noise.

    The difference is that of these two sets of weights, by resampling the images; or that of their recipes, which takes
    runs with several seeds.

    Example: yolab compare scaling/trial-003 scaling/trial-007 --report difference
    """
    with terminal() as watcher:
        result = compare_job.compare(
            first, second, recipes=recipes, resamples=resamples, report=report, storage=storage, uri=uri,
            watcher=watcher,
        )  # fmt: skip
    show(result, as_json, lambda: _print(result, (first, second)))


def _print(result: "Comparison", names: tuple[str, str]) -> None:
    rows = [[metric, one, other, _signed(one, other)] for metric, (one, other) in result.metrics.items()]
    print_table("metrics", ["", *names, "difference"], rows)
    print_table("configuration", ["", *names], [[path, *values] for path, values in result.configuration.items()])
    print(result.sentence)


def _signed(one: float | None, other: float | None) -> str | None:
    return None if one is None or other is None else f"{other - one:+.3f}"
