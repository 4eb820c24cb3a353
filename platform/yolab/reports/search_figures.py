"""What a sweep has found, as pictures: history, parallel coordinates, importances, and Pareto fronts."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState


def save_pictures(study: optuna.Study, folder: Path) -> list[Path]:
    """Write each figure that the trials suffice for, as a PNG and as an HTML page that needs no network; return them.

    With several objectives the front takes the place of the figures of one.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from optuna.visualization import matplotlib as pictures

    folder.mkdir(parents=True, exist_ok=True)
    ended = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE, TrialState.PRUNED])
    written = []
    for name, least in _figures(study).items():
        if len(ended) < least:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            drawn = _drawn(getattr(pictures, f"plot_{name}"), study)
            page = _drawn(getattr(optuna.visualization, f"plot_{name}"), study)
        if drawn is None or page is None:
            continue
        page.write_html(folder / f"{name}.html", include_plotlyjs=True)
        axes = drawn if hasattr(drawn, "figure") else drawn.flat[0]
        axes.figure.set_size_inches(10, 6)
        axes.figure.savefig(folder / f"{name}.png", dpi=120, bbox_inches="tight")
        written += [folder / f"{name}.png", folder / f"{name}.html"]
    return written


def _figures(study: optuna.Study) -> dict[str, int]:
    """Return the names of Optuna's figures, and how many trials each needs."""
    if len(study.directions) in (2, 3):
        return {"pareto_front": 1}
    if len(study.directions) > 1:
        return {}
    return {"optimization_history": 1, "parallel_coordinate": 2, "param_importances": 4}


def _drawn(plot: Callable[..., Any], study: optuna.Study) -> Any:
    """Return a figure, None if the trials don't vary enough for it."""
    try:
        return plot(study)
    except (ValueError, RuntimeError):
        return None
