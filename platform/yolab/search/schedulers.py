"""Which trials go on: none is stopped, the bad ones are, or they take over what the good ones have learned.

A row of `SCHEDULERS` is all that yolab knows of one; its own row in it is all that another one needs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from yolab.errors import UsageError

if TYPE_CHECKING:
    from yolab.experiment import Experiment, Recipe
    from yolab.search.search_space import Space


@dataclass(frozen=True)
class Settings:
    """What a scheduler is made for: trials of so many `epochs`, none stopped or changed before `grace` of them, one of
    `reduction` that goes on, and the space."""

    epochs: int
    grace: int = 5
    reduction: int = 3
    space: "Space | None" = None


@dataclass(frozen=True)
class TuneClass:
    """A class of Ray Tune's, or one's own over it, as "module:Class", and what it is made with."""

    path: str
    arguments: Mapping[str, Any]


Check = Callable[["Experiment", "Space"], str | None]


@dataclass(frozen=True)
class Scheduler:
    """`build` says which of Tune's schedulers it is, made of the settings that it `takes`; `check` why it can't
    schedule the trials of an experiment and a space, None if it can; `share` how much of its epochs a trial gets on
    average. `by_ap`: it stops trials by their AP. `remembers`: it is told what the trials of a sweep's earlier parts
    came to. `changes_points`: it hands weights on between trials and changes their points."""

    help: str
    build: Callable[[Settings], TuneClass]
    check: Check = lambda experiment, space: None
    share: Callable[[Settings], float] = lambda settings: 1.0
    takes: tuple[str, ...] = ()
    by_ap: bool = True
    remembers: bool = False
    changes_points: bool = False


def find(name: str) -> Scheduler:
    """Return the scheduler of that name. Raises UsageError."""
    if name not in SCHEDULERS:
        raise UsageError(f"--scheduler can't be {name}: it is one of {', '.join(SCHEDULERS)}.")
    return SCHEDULERS[name]


def check(name: str, experiment: "Experiment", space: "Space", objectives: tuple[str, ...]) -> None:
    """Raise UsageError if a scheduler can't search this space, or for these objectives."""
    found = find(name)
    if len(objectives) > 1 and found.by_ap:
        raise UsageError(
            f"--scheduler {name} stops trials by AP alone, which would cut off the cheap end of the front of "
            f"{', '.join(objectives)}: take --scheduler none."
        )
    why = found.check(experiment, space)
    if why:
        raise UsageError(f"--scheduler {name} {why}")


def _compared(**more: Any) -> dict[str, Any]:
    return {"metric": "ap", "mode": "max", "time_attr": "epoch", **more}


def _asha(settings: Settings) -> TuneClass:
    return TuneClass(
        "ray.tune.schedulers:ASHAScheduler",
        _compared(max_t=settings.epochs, grace_period=min(settings.grace, settings.epochs),
                  reduction_factor=settings.reduction, stop_last_trials=False),
    )  # fmt: skip


def _hyperband(settings: Settings) -> TuneClass:
    arguments = _compared(max_t=settings.epochs, reduction_factor=settings.reduction, stop_last_trials=False)
    return TuneClass("ray.tune.schedulers:HyperBandScheduler", arguments)


def _median(settings: Settings) -> TuneClass:
    arguments = _compared(grace_period=min(settings.grace, settings.epochs))
    return TuneClass("ray.tune.schedulers:MedianStoppingRule", arguments)


def _population(settings: Settings) -> TuneClass:
    grace = min(settings.grace, settings.epochs)
    arguments = _compared(perturbation_interval=grace, burn_in_period=grace, log_config=False)
    return TuneClass("yolab.cluster.population:Population", {**arguments, "space": settings.space})


def _halving(settings: Settings) -> float:
    """Return the share of successive halving: all trials get the grace, one of `reduction` so many times as much, and
    so on."""
    total, rung, alive = 0.0, min(settings.grace, settings.epochs), 1.0
    reached = 0
    while reached < settings.epochs:
        total += alive * (rung - reached)
        reached, rung, alive = rung, min(settings.epochs, rung * settings.reduction), alive / settings.reduction
    return total / settings.epochs


def _not_hyperband(experiment: "Experiment", space: "Space") -> str | None:
    if experiment.compute.workers.max > 1:
        return "pauses trials, which trials of several workers can't: take asha, or compute.workers=1."
    if experiment.recipe.evaluate_every > 1:
        return "judges trials from their first epoch on: take recipe.evaluate_every=1, or asha."
    return None


def _not_handed_on(experiment: "Experiment", space: "Space") -> str | None:
    if experiment.compute.workers.max > 1:
        return (
            "hands weights from one trial to another, which trials of several workers can't: take compute.workers=1, "
            "or asha."
        )
    for domain in space.domains:
        if domain.path.startswith("model"):
            return (
                f"can't search {domain.path}: the weights of one model don't fit into another. Take it out of the "
                "space, or take asha."
            )
        if domain.when:
            return f"can't search {domain.path}, which depends on another path: take asha."
        if domain.path == "recipe.epochs":
            return "can't search recipe.epochs: all trials must be as long. Take it out."
    if space.constraints:
        return "changes points on the way, without a look at constraints: take asha."
    return None


_BOTH = ("grace", "reduction")
SCHEDULERS = {
    "asha": Scheduler("stops the worst at rungs that grow by --reduction", _asha, share=_halving, takes=_BOTH,
                      remembers=True),
    "hyperband": Scheduler("as asha, in brackets of several graces; pauses trials", _hyperband, _not_hyperband,
                           _halving, takes=("reduction",)),
    "median": Scheduler("stops what is below the median of the others", _median, takes=("grace",)),
    "pbt": Scheduler("hands the weights of good trials to bad ones, with changed points", _population, _not_handed_on,
                     takes=("grace",), changes_points=True),
    "none": Scheduler("lets every trial have all of its epochs",
                      lambda settings: TuneClass("ray.tune.schedulers:FIFOScheduler", {}), by_ap=False),
}  # fmt: skip


def settings_for(name: str, recipe: "Recipe", space: "Space | None", given: Mapping[str, int | None]) -> Settings:
    """Return the settings of a scheduler, those that are `given` (None: left to the default) among them. No trial is
    judged before its first score. Raises UsageError for a setting that the scheduler takes no notice of."""
    row, epochs, first_score = find(name), recipe.epochs, min(recipe.evaluate_every, recipe.epochs)
    known: dict[str, Any] = {option: value for option, value in given.items() if value is not None}
    for option in known:
        if option not in row.takes:
            raise UsageError(f"--{option} does nothing with --scheduler {name}: leave it out.")
    if known.get("grace", 0) >= epochs > 1:
        raise UsageError(f"--grace {known['grace']} does nothing: trials have {epochs} epochs. Take fewer.")
    if known.get("grace", first_score) < first_score:
        raise UsageError(
            f"--grace {known['grace']} would judge trials before their first score, after epoch {first_score}: take "
            f"{first_score} or more, or lower recipe.evaluate_every."
        )
    return replace(Settings(epochs, max(Settings.grace, first_score), space=space), **known)


def changes_points(name: str) -> bool:
    """Return whether the trials of a scheduler may end at another point than they began at."""
    return name in SCHEDULERS and SCHEDULERS[name].changes_points
