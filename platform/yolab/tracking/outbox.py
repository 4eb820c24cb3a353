"""What MLflow has yet to hear of a run, on disk beside the run: that it is open, its files, and how it ended.

Who writes it never waits for MLflow and decides nothing by it; who delivers it may do so later, again, or elsewhere.
"""

import json
import logging
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yolab.search.trial import TrialState
from yolab.storage import Storage
from yolab.storage.checkpoints import FOLDER, Checkpoints
from yolab.storage.document import FORMAT, check_version, read_document, write_document
from yolab.storage.hold import Hold
from yolab.tracking import mlflow_runs
from yolab.tracking.flusher import Flusher
from yolab.tracking.journal import FILE_NAME as JOURNAL
from yolab.tracking.journal import entries_in, read_entries, send_entries

FILE_NAME = "outbox.jsonl"
PATIENCE_SECONDS = 20.0
_DELIVERED, _LOCK = "outbox-delivered.json", "outbox-delivering"
_VERSION = 1

logger = logging.getLogger(__name__)


class Outbox:
    """The messages of the run that has the folder `place`, in the order in which MLflow is to hear them; but no file
    keeps it from hearing of a run's scores and end."""

    def __init__(self, place: Storage) -> None:
        self.place = place

    def open(self, **about: Any) -> None:
        """Say that the run is open, or open again, and what `mlflow_runs.open_run` is to be told of it."""
        self._add(open=about)

    def file(self, name: str, under: str = "") -> None:
        """Say that a file of the place belongs to the folder `under` of the run's artifacts."""
        self._add(file=name, under=under)

    def end(
        self,
        state: TrialState,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Say how the run has ended, and its last metrics and tags, beside those in its last checkpoint's journal."""
        newest = Checkpoints(self.place).newest()
        journal = f"{FOLDER}/{newest.name}/{JOURNAL}" if newest else None
        self._add(end={"state": state, "metrics": metrics, "tags": tags}, journal=journal)

    @property
    def run_id(self) -> str | None:
        """The run's id in MLflow, None until it has been opened there."""
        return self._delivered()["run_id"]

    def is_empty(self) -> bool:
        """Return whether nothing was ever said of the run."""
        return not self.place.exists(FILE_NAME)

    def state(self) -> TrialState | None:
        """Return how the run has ended, None as long as it is open, or before."""
        ends = [message.get("end") for message in self._messages() if "file" not in message]
        return TrialState(ends[-1]["state"]) if ends and ends[-1] else None

    def left(self) -> int:
        """Return how many messages MLflow has yet to hear."""
        delivered = self._delivered()
        return len(self._messages()) - delivered["notes"] - delivered["files"]

    def deliver(self, uri: str, journal: Path | None = None) -> None:
        """Send what MLflow at `uri` has yet to hear, with a running training's journal. What was sent is not sent
        again. Raises YolabError, or whatever MLflow raises, at the first message that it doesn't take."""
        # two who open a run at the same time would make two of it
        with Hold(self.place, _LOCK).awaited():
            delivered, messages = self._delivered(), self._messages()
            for message in [each for each in messages if "file" not in each][delivered["notes"] :]:
                delivered["run_id"] = self._send_note(message, uri, delivered["run_id"])
                self._count(delivered, "notes")
            if journal:
                send_entries(read_entries(journal), uri, delivered["run_id"])
            for message in [each for each in messages if "file" in each][delivered["files"] :]:
                self._send_file(message, uri, delivered["run_id"])
                self._count(delivered, "files")

    def _send_note(self, message: Mapping[str, Any], uri: str, run_id: str) -> str:
        if "open" in message:
            return mlflow_runs.open_run(uri, **message["open"])
        if message["journal"]:
            send_entries(entries_in(self.place, message["journal"]), uri, run_id)
        end = message["end"]
        mlflow_runs.finish_run(uri, run_id, TrialState(end["state"]), end["metrics"], end["tags"])
        return run_id

    def _send_file(self, message: Mapping[str, str], uri: str, run_id: str) -> None:
        if self.place.exists(message["file"]):
            with tempfile.TemporaryDirectory() as scratch:
                path = self.place.local(message["file"], Path(scratch))
                mlflow_runs.log_artifact(uri, run_id, path, message["under"] or None)
        else:
            logger.warning("%s was removed before MLflow had it.", self.place / message["file"])

    def _add(self, **message: Any) -> None:
        if self.is_empty():
            self.place.append(FILE_NAME, json.dumps({FORMAT: _VERSION}).encode())
        self.place.append(FILE_NAME, json.dumps(message).encode())

    def _messages(self) -> list[dict[str, Any]]:
        """Return the messages that are whole."""
        if self.is_empty():
            return []
        found = []
        for line in self.place.read(FILE_NAME).split(b"\n")[:-1]:
            try:
                message = json.loads(line)
            except ValueError:  # torn by a kill
                continue
            if FORMAT in message:
                check_version(message[FORMAT], _VERSION, str(self.place / FILE_NAME))
            else:
                found.append(message)
        return found

    def _delivered(self) -> dict[str, Any]:
        """Return how many notes and files were delivered, and the id of the run that got them."""
        if not self.place.exists(_DELIVERED):
            return {"notes": 0, "files": 0, "run_id": None}
        return read_document(self.place, _DELIVERED, _VERSION)

    def _count(self, delivered: dict[str, Any], kind: str) -> None:
        delivered[kind] += 1
        write_document(self.place, _DELIVERED, delivered, _VERSION)


class Delivery:
    """Delivers outboxes beside the work; see `delivering`."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._waiting: deque[Outbox] = deque()
        self._flusher = Flusher(self._deliver)

    def add(self, outbox: Outbox) -> None:
        """Deliver an outbox as soon as MLflow takes it; returns at once."""
        self._waiting.append(outbox)
        self._flusher.wake()

    def close(self) -> None:
        """Deliver the rest for up to 20 seconds; a warning tells what is left, and stays on disk."""
        if not self._flusher.close(PATIENCE_SECONDS):
            logger.warning(
                "MLflow has yet to hear %d messages about %s. They are kept there, and sent when it is resumed.",
                sum(outbox.left() for outbox in self._waiting),
                ", ".join(str(outbox.place) for outbox in self._waiting),
            )

    def _deliver(self) -> None:
        for outbox in tuple(self._waiting):
            self._waiting.remove(outbox)
            self._waiting.append(outbox)  # at the end, where one that can't be delivered holds up no other
            outbox.deliver(self._uri)
            self._waiting.remove(outbox)


@contextmanager
def delivering(uri: str) -> Iterator[Delivery]:
    """Give who delivers outboxes to MLflow at `uri`; on leaving, also by an error, the rest is delivered for up to 20
    seconds."""
    delivery = Delivery(uri)
    try:
        yield delivery
    finally:
        delivery.close()
