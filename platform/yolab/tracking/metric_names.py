"""What metrics are called in MLflow, whose page shows them by groups; everywhere else they have their short names."""

import hashlib
import posixpath
import re
from collections.abc import Mapping

from yolab.evaluation.score_names import ALL_METRICS, COUNTS, LATENCY

LONGEST_NAME = 250  # characters that MLflow takes
_SHOWN_OF_NAME = 200
_GROUP = re.compile(r"^\w{1,30}/")

# The name that MLflow has, by the short one. Runs that an earlier yolab logged have the short ones there, too.
_GROUPED = {
    **{name: f"val/{name}" for name in ALL_METRICS},
    "loss": "loss/total",
    **{f"loss_{part}": f"loss/{part}" for part in ("box", "objectness", "class")},
    "lr": "train/lr",
    "workers": "train/workers",
    "images_per_second": "train/images_per_second",
    "epoch_seconds": "time/epoch",
    "trial_seconds": "time/trial",
    **{
        f"step_{phase}_seconds": f"time/{phase}"
        for phase in ("data", "forward", "loss", "backward", "exchange", "optimiser")
    },
    LATENCY: f"time/{LATENCY}",
    **{name: f"model/{name}" for name in COUNTS},
}
_SHORT = {grouped: name for name, grouped in _GROUPED.items()}
# A text of MLflow's filters, which stays as it is, or a metric in it
_TEXT_OR_METRIC = re.compile(r"""'[^']*'|\b(metrics?)\s*\.\s*(?:`([^`]+)`|"([^"]+)"|([\w/]+))""")


def in_mlflow(name: str) -> str:
    """Return what a metric of a short name is called in MLflow."""
    return allowed_name(_GROUPED.get(name, name))


def short(name: str) -> str:
    """Return the short name of a metric that MLflow calls so."""
    return _SHORT.get(name, name)


def by_short_name(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return metrics as MLflow has them by their short names, those in groups before those of an earlier yolab."""
    earlier = {name: value for name, value in metrics.items() if name not in _SHORT}
    return earlier | {_SHORT[name]: value for name, value in metrics.items() if name in _SHORT}


def filters(where: str) -> list[str]:
    """Return MLflow's filter for runs as they are logged, and that for those of an earlier yolab if it is another."""

    def renamed(names: Mapping[str, str]) -> str:
        def rename(found: re.Match[str]) -> str:
            entity, *names_in_it = found.groups()
            name = next((each for each in names_in_it if each), None)
            return f"{entity}.`{names.get(name, name)}`" if name else found[0]

        return _TEXT_OR_METRIC.sub(rename, where)

    return list(dict.fromkeys((renamed(_GROUPED), renamed(_SHORT))))


def allowed_name(name: str) -> str:
    """Return a metric's name as MLflow accepts it: its own if it can be, else a safe one that no other name gets. A
    class called "tv+monitor", or "a/", would otherwise stop its whole batch."""
    if re.fullmatch(r"[/\w.\- :]+", name) and posixpath.normpath(name) == name and len(name) <= LONGEST_NAME:
        return name
    group = "".join(_GROUP.findall(name))
    safe = re.sub(r"[^\w\- ]", "_", name.removeprefix(group))[:_SHOWN_OF_NAME]
    return f"{group}{safe}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
