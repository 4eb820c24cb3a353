"""How often a run, or a trial, has begun: it is begun again whatever it is lost to, as long as it moves on."""

import json
from dataclasses import asdict, dataclass

from yolab.errors import YolabError
from yolab.storage import Storage
from yolab.storage.checkpoints import Checkpoints

_FILE = "starts.json"
MOST_STARTS = 6  # from the same checkpoint, in a row


@dataclass
class Starts:
    """What is known of the starts of a run under one `driver`, by whatever name: from which checkpoint the last one
    was, and how many in a row were; how often it failed by itself, and ran out of memory."""

    driver: str
    begun_from: str = ""
    in_a_row: int = 0
    failures: int = 0
    without_memory: int = 0

    @classmethod
    def of(cls, place: Storage, driver: str) -> "Starts":
        """Return what is kept in a run's place; nothing counts of another driver's time."""
        kept = cls(**json.loads(place.read(_FILE))) if place.exists(_FILE) else cls(driver)
        return kept if kept.driver == driver else cls(driver)

    def keep(self, place: Storage) -> None:
        place.write(_FILE, json.dumps(asdict(self)).encode())


def count_start(place: Storage, driver: str, checkpoints: Checkpoints) -> str:
    """Count a start; return from what it is. Raises YolabError if there were too many from the same: it would go on so;
    MemoryError if there was too little memory for it the last time."""
    starts, newest = Starts.of(place, driver), checkpoints.newest()
    state = newest.name if newest else "the beginning"
    starts.in_a_row = starts.in_a_row + 1 if state == starts.begun_from else 1
    starts.begun_from = state
    if starts.without_memory:
        raise MemoryError("The node ran out of memory, and what uses most of it was ended.")
    if starts.in_a_row > MOST_STARTS:
        raise YolabError(
            f"It has begun {MOST_STARTS} times from {state} and was lost each time before the next checkpoint. Its "
            "log, by `yolab logs`, says what went wrong. If nodes of the cluster come and go that fast, lower "
            "compute.checkpoint_minutes and go on with what was interrupted."
        )
    starts.keep(place)
    return state


def has_started(place: Storage) -> bool:
    """Return whether the run in a place was ever begun: it has found room."""
    return place.exists(_FILE)


def count_failure(place: Storage, driver: str) -> int:
    """Count that it failed by itself; return how often it has."""
    starts = Starts.of(place, driver)
    starts.failures += 1
    starts.keep(place)
    return starts.failures


def count_without_memory(place: Storage, driver: str) -> None:
    """Count that it was ended because the memory of its node was used up."""
    starts = Starts.of(place, driver)
    starts.without_memory += 1
    starts.keep(place)
