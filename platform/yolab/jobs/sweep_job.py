"""A search over an experiment: begun, gone on with, or forked."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolab.cluster.capacity import awaited_capacity, capacity
from yolab.cluster.ray_tune import Trials
from yolab.errors import UsageError
from yolab.evaluation.score_names import COUNTS, LATENCY, TRIAL_METRICS
from yolab.experiment import NAME, Experiment, Overrides, shipped, yaml_file
from yolab.experiment.shipped import Kind
from yolab.jobs.checking import check_trials, experiment_from
from yolab.jobs.result import INTERRUPTED
from yolab.jobs.session import Session
from yolab.jobs.sweeps_job import SweepStatus, as_markdown, sorted_rows
from yolab.jobs.trials import deliver_left, require_main_thread, run_trials
from yolab.jobs.watcher import SILENT, Watcher
from yolab.preflight import Capacity, CheckedExperiment
from yolab.reports.search_figures import save_pictures
from yolab.search import preparation, schedulers, searchers
from yolab.search.budget import Budget, Stop
from yolab.search.request import SweepRequest
from yolab.search.search_space import Space
from yolab.search.searchers import Searcher
from yolab.search.sweep_folder import SweepFolder
from yolab.search.trial import POINT, TrialState, best_of
from yolab.storage import claim
from yolab.tracking import find_runs, record, tags
from yolab.tracking.outbox import Outbox, delivering

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_SPACE = "compound_scaling"
DEFAULT_TRIALS = 16


@dataclass(frozen=True)
class SweepResult(SweepStatus):
    """A sweep that has ended, or was stopped: by its own budget, or `interrupted` by somebody elsewhere."""

    interrupted: bool

    @property
    def exit_code(self) -> int:
        return INTERRUPTED if self.interrupted else 0

    @property
    def trials(self) -> "pd.DataFrame":
        """A row for each trial, the best first: its name and state, its point by dotted path, scores and counts."""
        import pandas as pd  # half a second that most callers don't need

        flat = [{name: value for name, value in row.items() if name != POINT} | row[POINT] for row in self.rows]
        return pd.DataFrame(flat)


def sweep(
    experiment: str | Path | Experiment,
    space: str | Path | Mapping[str, Any] | None = None,
    *,
    overrides: Overrides = (),
    name: str | None = None,
    trials: int | None = None,
    searcher: str | None = None,
    scheduler: str | None = None,
    objectives: Sequence[str] | None = None,
    grace: int | None = None,
    reduction: int | None = None,
    retries: int | None = None,
    warm_start: str | None = None,
    budget: Budget = Budget(),  # noqa: B008  # frozen
    restartable: bool = False,
    storage: str | Path | None = None,
    watcher: Watcher = SILENT,
) -> SweepResult:
    """Search a space around an experiment: trials in parallel, the bad ones stopped early, all of them in MLflow.

    `space` is a file, the name of one that comes with yolab (None: compound_scaling), or its content. `trials` None:
    16, or all points of a grid; `searcher` None: random; `scheduler` None: asha, or none for a grid or several
    objectives; `objectives` None: AP; `retries` None: 1. `warm_start` names an earlier sweep that the searcher learns
    from. `restartable`: what the same call began before goes on, when nobody works on it any more. Raises UsageError
    for what can't be meant, before anything is created; KeyboardInterrupt when it was interrupted, with its state
    saved; YolabError if every trial failed.
    """
    described = experiment_from(experiment, overrides)
    searcher = searcher or "random"
    plan = _Plan(
        name or described.name,
        tuple(objectives or ("ap",)),
        searcher,
        scheduler,
        trials,
        grace,
        reduction,
        1 if retries is None else retries,
        restartable,
    )
    if warm_start and not searchers.find(searcher).learns:
        learning = [kind for kind, row in searchers.SEARCHERS.items() if row.learns]
        raise UsageError(f"--warm-start is for --searcher {' or '.join(learning)}: {searcher} learns from no trials.")
    return _begin(described, space or DEFAULT_SPACE, plan, warm_start, budget, Session.at(storage), watcher)


def fork(
    source: str,
    space: str | Path | Mapping[str, Any],
    *,
    name: str | None = None,
    trials: int | None = None,
    searcher: str | None = None,
    scheduler: str | None = None,
    objectives: Sequence[str] | None = None,
    grace: int | None = None,
    reduction: int | None = None,
    retries: int | None = None,
    budget: Budget = Budget(),  # noqa: B008  # frozen
    restartable: bool = False,
    storage: str | Path | None = None,
    watcher: Watcher = SILENT,
) -> SweepResult:
    """Search another space around the experiment of an earlier sweep, knowing its trials; what is left out is as it was
    there, but the number of trials if the searcher is another. Else as `sweep`."""
    session = Session.at(storage)
    asked = SweepFolder.existing(session.storage, source).request()
    described = preparation.experiment_of(asked)
    same = scheduler in (None, asked.scheduler)
    taken = schedulers.find(asked.scheduler).takes if same and asked.grace < described.recipe.epochs else ()
    plan = _Plan(
        name or f"{source}-fork",
        tuple(objectives or asked.objectives),
        searcher or asked.searcher,
        scheduler or asked.scheduler,
        trials or (asked.trials if searcher in (None, asked.searcher) else None),
        grace or (asked.grace if "grace" in taken else None),
        reduction or (asked.reduction if "reduction" in taken else None),
        asked.retries if retries is None else retries,
        restartable,
    )
    return _begin(described, space, plan, source, budget, session, watcher)


def resume(
    name: str,
    *,
    more_trials: int | None = None,
    budget: Budget = Budget(),  # noqa: B008  # frozen
    storage: str | Path | None = None,
    watcher: Watcher = SILENT,
) -> SweepResult:
    """Go on with a sweep of the storage, with so many trials more: ended trials are not run again, others go on from
    their last checkpoint. Raises as `sweep` does, UsageError if its data, or its start, have changed."""
    require_main_thread()
    session = Session.at(storage)
    folder = SweepFolder.existing(session.storage, name)
    folder.require_free()
    request = folder.request()
    budget.check_scheduler(request.scheduler)
    if more_trials is not None:
        request = request.with_more(more_trials)
    room = capacity()
    checked = check_trials(preparation.experiment_of(request), watcher, room)
    if checked.digest != request.digest:
        raise UsageError(f"{name} can't go on: its data, or the weights that it starts from, have changed since.")
    space = preparation.checked_space(request, str(folder.place))
    searcher = preparation.searcher_of(request, space, checked.experiment, checked.names)
    uri = session.uri_of(checked.experiment)
    with folder.held():
        stop = _go_on(folder, request, space, searcher, checked, room, uri, budget, watcher)
    return _result(folder, request, stop)


@dataclass(frozen=True)
class _Plan:
    """How to search, as the caller says it; None is left to us."""

    name: str
    objectives: tuple[str, ...]
    searcher: str
    scheduler: str | None
    trials: int | None
    grace: int | None
    reduction: int | None
    retries: int
    restartable: bool


def _begin(
    described: Experiment,
    space: str | Path | Mapping[str, Any],
    plan: _Plan,
    learned_from: str | None,
    budget: Budget,
    session: Session,
    watcher: Watcher,
) -> SweepResult:
    """Check all of it, claim the folder, and search."""
    require_main_thread()
    place = session.storage / plan.name
    if not re.fullmatch(NAME, plan.name):
        raise UsageError(f"--name can't be {plan.name!r}: take letters, digits, dots, dashes and underscores.")
    if place.exists() and not plan.restartable:
        raise UsageError(
            f"There is a run or sweep {plan.name} in {session.storage}: go on by `yolab sweep resume {plan.name}`, or "
            "say another --name."
        )
    has_end = searchers.find(plan.searcher).ends
    scheduler = plan.scheduler or ("asha" if plan.objectives == ("ap",) and not has_end else "none")
    budget.check_scheduler(scheduler)
    given = {"grace": plan.grace, "reduction": plan.reduction}
    settings = schedulers.settings_for(scheduler, described.recipe, None, given)
    room = awaited_capacity(described.compute, watcher.note) if plan.restartable else capacity()
    checked = check_trials(described, watcher, room)
    request = SweepRequest(
        checked.experiment.model_dump(),
        checked.digest,
        dict(space) if isinstance(space, Mapping) else yaml_file.read(shipped.find(Kind.SPACE, space)),
        plan.searcher,
        scheduler,
        plan.objectives,
        plan.trials if has_end else plan.trials or DEFAULT_TRIALS,
        settings.grace,
        settings.reduction,
        plan.retries,
    )
    parsed = preparation.checked_space(request, "the space" if isinstance(space, Mapping) else str(space))
    if learned_from:
        earlier = find_runs.rows_of(session.uri_of(checked.experiment), learned_from)
        request = replace(request, known=preparation.within(parsed, earlier))
    searcher = preparation.searcher_of(request, parsed, checked.experiment, checked.names)
    uri = session.uri_of(checked.experiment)
    folder = SweepFolder(place)
    if place.exists():
        # other sweeps may have ended since
        request = replace(request, known=folder.request().known)
        claim.reclaim(place, request.work())
        searcher = preparation.searcher_of(request, parsed, checked.experiment, checked.names)
    else:
        claim.claim(place, request.work())
    with folder.held(watcher.note if plan.restartable else None):
        stop = _go_on(folder, request, parsed, searcher, checked, room, uri, budget, watcher)
    return _result(folder, request, stop)


def _go_on(
    folder: SweepFolder,
    request: SweepRequest,
    space: Space,
    searcher: Searcher,
    checked: CheckedExperiment,
    room: Capacity,
    uri: str,
    budget: Budget,
    watcher: Watcher,
) -> Stop | None:
    """Run what is left of a sweep whose folder is held, and record how it ended; return why it did so before its end,
    if it did."""
    deliver_left(folder, uri)
    if not searcher.is_left(folder.rows()):
        watcher.note(f"Nothing is left to do of {folder.name}: `yolab sweep resume --more-trials N` adds some.")
        folder.record_end(TrialState.FINISHED)
        return None
    claim.extend(folder.place, request.work())
    outbox = record.opened(folder.place, checked, folder.key, record.tags_of(checked, "sweep"))
    outbox.deliver(uri)
    of_trials = {tags.SWEEP_TAG: folder.name, tags.SCHEDULER_TAG: request.scheduler}
    settings = schedulers.Settings(checked.experiment.recipe.epochs, request.grace, request.reduction, space)
    trials = Trials(
        folder, checked, uri, str(outbox.run_id), record.tags_of(checked, "trial") | of_trials, searcher,
        request.retries, request.scheduler, settings, with_latency=LATENCY in request.objectives,
    )  # fmt: skip
    how_to_go_on = f"Go on with `yolab sweep resume {folder.name}`; the state is in {folder.place}."
    with delivering(uri) as delivery:
        stop = run_trials(trials, room, budget, request.trials, how_to_go_on, delivery, watcher)
        if not searcher.is_left(folder.rows()):
            stop = None
        _record_end(folder, outbox, request, space, TrialState.STOPPED if stop else TrialState.FINISHED)
        delivery.add(outbox)
    if stop:
        watcher.note(f"Stopped, because {stop.reason}. {how_to_go_on}")
    elif len(folder.rows()) < (request.trials or 0):
        watcher.note(f"The space had no more than {len(folder.rows())} different points that can be tried.")
    return stop


def _record_end(folder: SweepFolder, outbox: Outbox, request: SweepRequest, space: Space, state: TrialState) -> None:
    """Write down how a sweep ended; for MLflow with pictures, the best scores and a table."""
    rows = list(folder.rows().values())
    folder.record_end(state)
    study = searchers.study_of(space, request.objectives, rows)
    with tempfile.TemporaryDirectory() as scratch:
        for picture in save_pictures(study, Path(scratch)):
            outbox.file(folder.place.keep(picture, "pictures"), "sweep")
    best = best_of(rows) or {}
    metrics = {name: float(best[name]) for name in (*TRIAL_METRICS, *COUNTS) if name in best}
    outbox.end(state, metrics=metrics, tags={tags.NOTE_TAG: as_markdown(folder)})


def _result(folder: SweepFolder, request: SweepRequest, stop: Stop | None) -> SweepResult:
    interrupted = stop is not None and stop.interrupted
    return SweepResult(folder.name, folder.state(), request.objectives, tuple(sorted_rows(folder)), interrupted)
