"""yolab ls: what comes with yolab."""

from yolab.cli.output import AsJson, print_table, say, show
from yolab.jobs import shipped_job


def ls(as_json: AsJson = False) -> None:
    """List what comes with yolab.

    Experiments, search spaces, tables, budgets and models, which commands take by name from any folder; and the
    schedulers, searchers, policies, optimisers, augmentations and gates.

    Example: yolab ls --json
    """
    result = shipped_job.ls()
    rows = [[item.kind, item.name, item.about] for item in result.items]
    show(result, as_json, lambda: print_table("comes with yolab", ["kind", "name", "what"], rows))
    if not as_json:
        say("Make one your own: yolab cp NAME FILE. What the models cost: yolab models.")
