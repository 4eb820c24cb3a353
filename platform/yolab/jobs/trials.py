"""Running the trials of a sweep or a table: what both have in common."""

import threading
import time

from yolab.cluster import ray_tune
from yolab.cluster.connect import connected
from yolab.cluster.ray_tune import Trials
from yolab.cluster.starts import has_started
from yolab.cluster.waiting import Waiting
from yolab.errors import UsageError, is_interruption
from yolab.jobs.watcher import Watcher
from yolab.preflight import Capacity
from yolab.reports.trials_table import RunningTrials
from yolab.search.budget import Budget, Stop, watched
from yolab.search.sweep_folder import SweepFolder
from yolab.search.trial import NAME, POINT, TrialState, state_of
from yolab.signals import first_noted
from yolab.tracking import tags
from yolab.tracking.outbox import Delivery, Outbox, delivering


def require_main_thread() -> None:
    """Raise UsageError outside the main thread, the one that Ctrl-C, a spent budget and `yolab sweep stop` reach."""
    if threading.current_thread() is not threading.main_thread():
        raise UsageError(
            "A sweep has to run in the main thread, which can be interrupted: give it a process of its own."
        )


def run_trials(
    trials: Trials,
    room: Capacity,
    limits: Budget,
    total: int | None,
    how_to_go_on: str,
    delivery: Delivery,
    watcher: Watcher,
) -> Stop | None:
    """Run trials and tell of them while they run; return why they were stopped, if the budget did so, or somebody
    elsewhere. What is interrupted, or fails, is recorded as such, and raised. The caller holds the trials' folder."""
    seen = SweepFolder(trials.folder.place)
    heard = SweepFolder(seen.place)  # of its own: what `rows` has read is no news any more
    heard.news()  # nor is what was told before a resume

    def has_begun() -> bool:
        running = [name for name, row in seen.rows().items() if state_of(row) is TrialState.RUNNING]
        # the workers of a trial that has several find room for themselves
        return bool(running) and all(has_started(seen.place / name) for name in running)

    waiting = Waiting(trials.checked.experiment.compute, has_begun, watcher.note)

    def look() -> None:
        waiting.look()
        news = heard.news()
        for row in news:
            if state_of(row).has_ended:
                delivery.add(Outbox(seen.place / row[NAME]))
        watcher.trials(RunningTrials(seen.name, list(seen.rows().values()), news, total))
        if told() and not said:
            said.append(True)
            watcher.note("Stopping: each trial saves its state at its next step. Ctrl-C again stops at once.")

    def end(state: TrialState, **more: str) -> None:
        if not trials.folder.hold.lost:
            outbox = Outbox(trials.folder.place)
            outbox.end(state, tags=more)
            delivery.add(outbox)

    def end_trials() -> None:
        for name, row in list(trials.folder.rows().items()):
            if state_of(row) is TrialState.RUNNING and not trials.folder.hold.lost:
                known = {NAME: name, POINT: row[POINT], "time": round(time.time(), 2)}
                trials.folder.append({**known, "state": TrialState.STOPPED})
                outbox = Outbox(seen.place / name)
                outbox.end(TrialState.STOPPED)
                delivery.add(outbox)

    why, said = list[Stop](), list[bool]()
    devices = trials.checked.experiment.compute.devices
    try:
        with connected(), first_noted() as told, watched(trials.folder, limits, devices, told, look) as why:
            ray_tune.run(trials, room, limits.concurrent)
        if told() and not why and trials.searcher.is_left(trials.folder.rows()):
            raise KeyboardInterrupt
    except (KeyboardInterrupt, Exception) as error:
        trials.folder.hold.require_own()
        if not is_interruption(error):
            end(TrialState.FAILED, **{tags.ERROR_TAG: str(error)})
            raise
        if not why:
            end(TrialState.STOPPED)
            watcher.note(f"Stopped. {how_to_go_on}")
            raise KeyboardInterrupt from error
    finally:
        end_trials()
    trials.folder.hold.require_own()
    return why[0] if why else None


def deliver_left(folder: SweepFolder, uri: str) -> None:
    """Let MLflow hear what it could not hear before of a sweep, or table, that nobody works on, and of its trials that
    have ended."""
    ended = [folder.place / name for name, row in folder.rows().items() if state_of(row).has_ended]
    with delivering(uri) as delivery:
        for outbox in map(Outbox, [folder.place, *ended]):
            if outbox.left():
                delivery.add(outbox)
