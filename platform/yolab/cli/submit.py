"""yolab submit: any of the commands, on a cluster that is elsewhere."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from yolab.cli.output import terminal
from yolab.jobs import submit_job

_NOT_THERE = ("submit", "ui")


def submit(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="VERB …", help="The command, as it stands behind yolab.")
    ] = None,
    attach: Annotated[str | None, typer.Option(help="Hear a job again, by its name, from its beginning.")] = None,
    cancel: Annotated[str | None, typer.Option(help="Stop a job, by its name, with its state saved.")] = None,
    wait: Annotated[bool, typer.Option(help="Print what it prints until it has ended.")] = True,
    cpus: Annotated[
        float | None, typer.Option(min=0, help="Cores that the command itself takes from a node; default: none.")
    ] = None,
    gpus: Annotated[
        float | None, typer.Option(min=0, help="GPUs for itself, as for a training by one worker; default: none.")
    ] = None,
) -> None:
    """Run a command on the cluster of RAY_API_SERVER_ADDRESS, with the code and the files from here.

    It goes on there when you leave by Ctrl-C or the connection is cut; the same command, or --attach, finds it again.
    After the cluster was lost and is back the same command goes on where it was.

    Example: yolab submit sweep coco data.path=s3://lab/coco --space compound_scaling
    """
    with terminal() as watcher:
        if attach:
            done = submit_job.attach(attach, hear=_print, watcher=watcher)
        elif cancel:
            done = submit_job.cancel(cancel, watcher)
        else:
            command = _command(context.find_root(), words or [])
            done = submit_job.submit(command, hear=_print, wait=wait, cpus=cpus, gpus=gpus, watcher=watcher)
    if done.exit_code:
        raise typer.Exit(done.exit_code)


def _command(root: Any, words: list[str]) -> list[str]:
    """Return a command with its verbs written out, and told that it may be begun again, if that can be. Says what is
    wrong with it, as the command line does."""
    if not words or words[0] in _NOT_THERE:
        root.fail("Say what to run, such as `yolab submit train coco`; `yolab submit --help` says more.")
    found: list[str] = []
    command: Any = root.command
    context = root
    while isinstance(command, TyperGroup):
        name, command, words = command.resolve_command(context, words)
        found.append(str(name))
        context = command.make_context(name, list(words), parent=context)
        if isinstance(command, TyperGroup):
            words = [*context._protected_args, *context.args]  # with what it has put there
    if context.params.get("restartable") is False:
        found.append("--restartable")
    return [*found, *words]


def _print(text: str) -> None:
    print(text, end="", flush=True)
