"""yolab doctor: what this machine and cluster can do, and what is missing."""

from typing import TYPE_CHECKING, Annotated

import typer

from yolab.cli.output import AsJson, StorageOption, print_table, show
from yolab.jobs import doctor_job

if TYPE_CHECKING:
    from yolab.jobs.doctor_job import Diagnosis

_STATES = {(True, True): "ok", (True, False): "ok", (False, True): "missing", (False, False): "optional"}


def doctor(
    cluster: Annotated[bool, typer.Option("--cluster", help="Ask each node of the cluster, too.")] = False,
    storage: StorageOption = None,
    as_json: AsJson = False,
) -> None:
    """Say what this machine and the cluster can do, and what is missing; exit code 1 if something needed is.

    Example: yolab doctor --cluster
    """
    result = doctor_job.doctor(cluster=cluster, storage=storage)
    show(result, as_json, lambda: _print(result))


def _print(result: "Diagnosis") -> None:
    rows = [[check.what, check.value, _STATES[check.ok, check.needed], check.advice] for check in result.checks]
    title = "ready" if result.ok else "something is missing"
    print_table(title, ["what", "value", "state", "what to do"], rows)
