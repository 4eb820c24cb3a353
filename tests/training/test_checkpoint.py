"""Checkpoints that are damaged: a sentence, and back to the one before where there is one."""

import io
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.reporting import describe_again, folder_reporter, newest
from yolab.errors import UsageError
from yolab.experiment import Model, Scale
from yolab.models.spec import DetectorSpec
from yolab.storage import Folder
from yolab.storage.checkpoints import DamagedCheckpointError
from yolab.tracking.journal import FILE_NAME, Journal
from yolab.tracking.outbox import Outbox
from yolab.tracking.tracked import Tracking
from yolab.training import checkpoint
from yolab.training.ema import Ema
from yolab.training.patience import Patience
from yolab.training.reporter import Reporter

SPEC = DetectorSpec(Model(name="yolov7-tiny", scale=Scale(width=0.125, hidden=0.125)), ("box", "disc"), 64)


def fresh_state() -> checkpoint.State:
    model = SPEC.build()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return checkpoint.State(model, Ema(model, 0.99, 10), optimiser, torch.amp.GradScaler("cpu"))


def reporter_in(folder: Path) -> Reporter:
    return folder_reporter(folder, Tracking(Journal(folder / FILE_NAME), Outbox(Folder(folder)), None), Patience(3))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run after two epochs, with the checkpoints of both."""
    folder, state = tmp_path_factory.mktemp("run"), fresh_state()
    report(reporter_in(folder), state, 1, 2)
    return folder


def report(reporter: Reporter, state: checkpoint.State, *epochs: int) -> None:
    for epoch in epochs:
        state.epoch = epoch
        with tempfile.TemporaryDirectory() as written:
            checkpoint.save(Path(written), state.copied(), SPEC)
            reporter.report(epoch, {"loss": 1.0, "ap": 0.1, "ap50": 0.2}, Path(written))


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def torch_saved(content: object) -> Callable[[bytes], bytes]:
    def replaced(_: bytes) -> bytes:
        file = io.BytesIO()
        torch.save(content, file)
        return file.getvalue()

    return replaced


DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes | None]]] = {
    "optimiser missing": ("optimiser.pt", lambda content: None),
    "optimiser empty": ("optimiser.pt", lambda content: b""),
    "optimiser cut": ("optimiser.pt", halved),
    "optimiser a text": ("optimiser.pt", lambda content: b"hello"),
    "optimiser a list": ("optimiser.pt", torch_saved([1, 2])),
    "optimiser without a key": ("optimiser.pt", torch_saved({"format": 1, "epoch": 2})),
    "optimiser of another": (
        "optimiser.pt",
        torch_saved({"optimiser": {"state": {}, "param_groups": []}, "scaler": {}}),
    ),
    "weights missing": ("weights.safetensors", lambda content: None),
    "weights empty": ("weights.safetensors", lambda content: b""),
    "weights cut": ("weights.safetensors", halved),
    "trained cut": ("trained.safetensors", halved),
    "trained zeroed": ("trained.safetensors", lambda content: bytes(len(content))),
    "scores cut": ("scores.json", halved),
    "scores a mapping": ("scores.json", lambda content: b'{"a": 1}'),
    "scores a number": ("scores.json", lambda content: b"5"),
    "journal cut": (FILE_NAME, halved),
    "journal of numbers": (FILE_NAME, lambda content: b"5\n"),
    "journal without metrics": (FILE_NAME, lambda content: b'{"time_ms": 1, "epoch": 1}\n'),
    "journal no text": (FILE_NAME, lambda content: b"\xff\xfe\n"),
}


OF_MANIFESTS: dict[str, tuple[str, Callable[[bytes], bytes | None]]] = {
    "manifest cut": ("manifest.json", halved),
    "manifest a list": ("manifest.json", lambda content: b"[]"),
    "manifest of names": ("manifest.json", lambda content: b'{"format": 1, "files": {"gone": 5}}'),
    "weights changed since": ("weights.safetensors", lambda content: content[:-1] + bytes([content[-1] ^ 1])),
}


@pytest.fixture(params=[*DAMAGES.items(), *OF_MANIFESTS.items()], ids=lambda item: item[0])
def damaged(request: pytest.FixtureRequest, saved: Path, tmp_path: Path) -> Path:
    """A run whose last checkpoint has one damaged file: so since it was saved, or so saved, too."""
    shutil.copytree(saved, tmp_path / "run")
    case, (name, damage) = request.param
    last = newest(tmp_path / "run")
    content = damage((last / name).read_bytes())
    (last / name).unlink() if content is None else (last / name).write_bytes(content)
    if case in DAMAGES and content is not None:
        describe_again(last)
    return tmp_path / "run"


def test_a_run_goes_back_to_the_checkpoint_before_a_damaged_one(
    damaged: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state, reporter = fresh_state(), reporter_in(damaged)
    restored = reporter.restore(lambda folder: checkpoint.load(folder, state))
    assert restored is not None
    assert (restored.name[:6], state.epoch) == ("000001", 1)
    assert [entry["epoch"] for entry in Journal(damaged / FILE_NAME).entries()] == [1]
    assert "is damaged" in caplog.text
    assert "goes on from the checkpoint before that" in caplog.text

    report(reporter, state, 2)
    again = fresh_state()
    reporter_in(damaged).restore(lambda folder: checkpoint.load(folder, again))
    assert again.epoch == 2


def test_without_an_older_one_a_damaged_checkpoint_is_said_in_a_sentence(damaged: Path) -> None:
    shutil.rmtree(next((damaged / "checkpoints").glob("000001-*")))
    state = fresh_state()
    with pytest.raises(DamagedCheckpointError, match=r"is damaged.*There is no older checkpoint to go on from"):
        reporter_in(damaged).restore(lambda folder: checkpoint.load(folder, state))


def test_a_checkpoint_of_a_newer_yolab_is_not_taken_for_a_damaged_one(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "run")
    last = newest(tmp_path / "run")
    (last / "optimiser.pt").write_bytes(torch_saved({"format": 3})(b""))
    describe_again(last)
    with pytest.raises(UsageError, match="written by a newer yolab"):
        reporter_in(tmp_path / "run").restore(lambda folder: checkpoint.load(folder, fresh_state()))


def test_no_code_of_a_checkpoint_is_run(saved: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "harmed",)

    shutil.copytree(newest(saved), tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "optimiser.pt").write_bytes(torch_saved({"format": 1, "optimiser": Harm()})(b""))
    with pytest.raises(DamagedCheckpointError):
        checkpoint.load(tmp_path / "checkpoint", fresh_state())
    assert not (tmp_path / "harmed").exists()


def test_scores_and_journal_come_back_with_a_checkpoint(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "run")
    reporter = reporter_in(tmp_path / "run")
    reporter.restore()
    patience = reporter.observers[1]
    assert isinstance(patience, Patience)
    assert patience.scores == json.loads((newest(saved) / "scores.json").read_text())
