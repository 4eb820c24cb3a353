"""Running the trials of a sweep or a table: what both have in common."""

from yolab.cluster import ray_tune
from yolab.cluster.connect import connected
from yolab.cluster.ray_tune import Trials
from yolab.interruption import sigterm_as_ctrl_c
from yolab.jobs.watcher import Watcher
from yolab.preflight import Capacity
from yolab.reports.trials_table import RunningTrials
from yolab.search.budget import Budget, watched
from yolab.search.sweep_folder import SweepFolder
from yolab.search.trial import TrialState
from yolab.tracking import mlflow_runs, tags


def run_trials(
    trials: Trials, room: Capacity, limits: Budget, total: int | None, how_to_go_on: str, watcher: Watcher
) -> str | None:
    """Run trials and tell of them while they run; return why they were stopped, if the budget did so, or somebody
    elsewhere. What is interrupted, or fails, is recorded as such, and raised."""
    compute, seen = trials.checked.experiment.compute, SweepFolder(trials.folder.place)
    devices = compute.workers * (compute.gpus_per_worker or compute.cpus_per_worker)
    seen.rows()  # what was told before a resume is no news

    def look() -> None:
        news = seen.news()
        watcher.trials(RunningTrials(seen.name, list(seen.rows().values()), news, total))

    def end(state: TrialState, **more: str) -> None:
        mlflow_runs.finish_run(trials.uri, trials.parent_id, state, tags=more)

    why: list[str] = []
    try:
        with sigterm_as_ctrl_c(), connected(), watched(trials.folder, limits, devices, look) as why:
            ray_tune.run(trials, room)
        # Ray Tune takes the first Ctrl-C itself, saves its state and returns
        if trials.searcher.is_left(trials.folder.rows()) and not why:
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        if why:
            return why[0]
        end(TrialState.STOPPED)
        watcher.note(f"Stopped. {how_to_go_on}")
        raise
    except Exception as error:
        end(TrialState.FAILED, **{tags.ERROR_TAG: str(error)})
        raise
    return why[0] if why else None
