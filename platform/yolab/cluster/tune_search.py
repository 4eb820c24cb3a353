"""What Ray Tune asks of a sweep: which trial comes next, and which are to be ended."""

import importlib
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher as TuneSearcher

from yolab.search import schedulers
from yolab.search.schedulers import Settings
from yolab.search.search_space import Point
from yolab.search.searchers import Searcher
from yolab.search.sweep_folder import SweepFolder
from yolab.search.trial import NAME, POINT, Row, state_of


def scheduler_of(name: str, settings: Settings) -> TrialScheduler:
    """Return Tune's scheduler of a name."""
    described = schedulers.find(name).build(settings)
    module, _, kind = described.path.partition(":")
    made: TrialScheduler = getattr(importlib.import_module(module), kind)(**described.arguments)
    return made


class Memory:
    """Tune's scheduler of a name, and what it has to know of the trials of a sweep's earlier parts, which Tune has
    forgotten, if it holds trials against each other: at once of those that have ended, of the others when they go on,
    as what they are called then."""

    def __init__(self, name: str, settings: Settings | None, earlier: SweepFolder) -> None:
        self.scheduler = scheduler_of(name, settings or Settings(1))
        self._events: dict[str, list[Row]] = {}
        for event in earlier.news() if schedulers.find(name).remembers else ():
            self._events.setdefault(event[NAME], []).append(event)
        for trial, known in earlier.rows().items():
            if state_of(known).has_ended:
                self.recall(trial, trial)

    def recall(self, trial: str, tune_id: str) -> None:
        """Let the scheduler know what a trial came to before, under the id that Tune has for it now."""
        known = SimpleNamespace(trial_id=tune_id)
        events = self._events.pop(trial, [])
        if events:
            self.scheduler.on_trial_add(None, known)
            for event in events:
                self.scheduler.on_trial_result(None, known, event)
            self.scheduler.on_trial_remove(None, known)


class PointSearcher(TuneSearcher):
    """Gives Tune's trials their names and points: first those that have begun before. What the trials came to it reads
    from the sweep's folder, so all that it has to remember is what it gave."""

    def __init__(self, searcher: Searcher, folder: SweepFolder, memory: Memory) -> None:
        super().__init__(metric="ap", mode="max")
        self.source = searcher  # not `searcher`: Tune takes that for one that it wraps
        self.folder, self.memory = SweepFolder(folder.place), memory
        self.given: dict[str, Point] = {}

    def suggest(self, trial_id: str) -> Any:
        found = self.source.suggest(self.given, self.folder.rows())
        if found is None or self.folder.stop_sign.is_up():
            return TuneSearcher.FINISHED
        name, point = found
        self.given[name] = point
        self.memory.recall(name, trial_id)
        return {NAME: name, POINT: point}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: Tune is never restored."""
