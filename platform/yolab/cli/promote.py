"""yolab promote: the best run becomes the registry's champion, if it passes the gates."""

from typing import Annotated

import typer

from yolab.cli.output import AsJson, StorageOption, UriOption, say, show, terminal
from yolab.jobs import promote_job


def promote(
    source: Annotated[str, typer.Argument(help="A sweep or table, for its best run; a run; or a .safetensors file.")],
    model: Annotated[str, typer.Option(help="The registered model.")],
    data: Annotated[str | None, typer.Option(help="Of a file: the data set that it proves itself on.")] = None,
    split: Annotated[str | None, typer.Option(help="Of a file: the annotations; default: val2017.")] = None,
    min_ap50: Annotated[float, typer.Option(min=0, max=1, help="Refuse a model below this.")] = 0.0,
    storage: StorageOption = None,
    uri: UriOption = None,
    as_json: AsJson = False,
) -> None:
    """Fold a run's model, prove that it is the same and good enough, register it, set the alias `champion`.

    Exit code 3 if a gate says no. Example: yolab promote bccd-scaling --model blood-cells --min-ap50 0.5
    """
    with terminal() as watcher:
        done = promote_job.promote(
            source, model, data=data, split=split, min_ap50=min_ap50, storage=storage, uri=uri, watcher=watcher
        )
    for line in done.sentences():
        say(line)
    show(done, as_json, lambda: None)
