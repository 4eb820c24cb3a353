"""What a command hears of the end of work."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from yolab.errors import YolabError
from yolab.jobs import on_end
from yolab.jobs.on_end import told_at_end
from yolab.jobs.result import INTERRUPTED, Result
from yolab.jobs.watcher import Watcher


@dataclass(frozen=True)
class Scored(Result):
    ap: float
    code: int = 0

    @property
    def exit_code(self) -> int:
        return self.code


class Heard(Watcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize(
    ("end", "state", "error"),
    [
        (Scored(0.5), "finished", None),
        (Scored(0.5, INTERRUPTED), "stopped", None),
        (Scored(0.5, 1), "failed", None),
        (YolabError("The loss is no longer a number."), "failed", "The loss is no longer a number."),
        (KeyboardInterrupt(), "stopped", None),
    ],
)
def test_a_command_hears_how_work_ended_and_changes_nothing(end, state, error, tmp_path):
    def work() -> Scored:
        with told_at_end(f"cat > {tmp_path / 'told'}", "train", Watcher()) as hear:
            if isinstance(end, BaseException):
                raise end
            return hear(end)

    if isinstance(end, BaseException):
        with pytest.raises(type(end)):
            work()
    else:
        assert work() == end
    result = None if isinstance(end, BaseException) else end.document()
    expected = {"what": "train", "state": state, "error": error, "result": result}
    assert json.loads(Path(tmp_path / "told").read_text()) == expected


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("echo no such channel >&2; exit 3", "failed with exit code 3: no such channel"),
        ("sleep 9", "was ended: it took longer than 1 s"),
    ],
)
def test_a_command_that_fails_or_hangs_is_noted(command, told, monkeypatch):
    monkeypatch.setattr(on_end, "_SECONDS", 1)
    heard = Heard()
    with told_at_end(command, "sweep", heard) as hear:
        assert hear(Scored(0.5)) == Scored(0.5)
    assert len(heard.notes) == 1
    assert told in heard.notes[0]


def test_what_is_no_number_is_null_as_json_has_it(tmp_path):
    with told_at_end(f"cat > {tmp_path / 'told'}", "train", Watcher()) as hear:
        hear(Scored(float("nan")))
    assert '"ap": null' in Path(tmp_path / "told").read_text()
