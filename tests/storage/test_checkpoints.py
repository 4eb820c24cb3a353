"""Checkpoints: announced when they are whole, and so many of them kept."""

import pickle
from pathlib import Path

import pytest

from yolab.storage import Storage
from yolab.storage.checkpoints import Checkpoints, DamagedCheckpointError, fetched
from yolab.storage.hold import Hold, TakenOverError


@pytest.fixture
def run(storage: Storage) -> Storage:
    return storage / "run"


def written(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def epochs(checkpoints: Checkpoints) -> list[int]:
    return [int(found.name.partition("-")[0]) for found in checkpoints.candidates()]


def test_the_newest_are_kept_the_last_first(run, tmp_path):
    checkpoints = Checkpoints(run)
    assert checkpoints.newest() is None
    for epoch in (9, 10, 11):
        checkpoints.save(epoch, written(tmp_path / "made", weights=str(epoch)))
    assert epochs(checkpoints) == [11, 10]
    with fetched(checkpoints.newest()) as folder:
        assert (folder / "weights").read_text() == "11"


def test_what_a_kill_left_half_written_is_no_checkpoint_and_goes_with_the_next(run, tmp_path):
    checkpoints = Checkpoints(run)
    checkpoints.save(1, written(tmp_path / "made", weights="1"))
    run.write("checkpoints/000002-00000000/weights", b"tor")
    assert epochs(checkpoints) == [1]
    checkpoints.save(2, written(tmp_path / "made", weights="2"))
    assert epochs(checkpoints) == [2, 1]
    assert len((run / "checkpoints").names()) == 2


def test_an_epoch_that_is_repeated_has_one_checkpoint(run, tmp_path):
    checkpoints = Checkpoints(run)
    for epoch in (1, 2, 2):
        checkpoints.save(epoch, written(tmp_path / "made", weights=str(epoch)))
    assert epochs(checkpoints) == [2, 1]


@pytest.mark.parametrize(("had", "then", "expected"), [
    ([(4, 0), (6, 0)], (5, 0), ["000005", "000004"]),  # a bad trial that took over a good one's state
    ([(4, 0), (5, 0)], (5, 0), ["000005", "000004"]),  # the last one was damaged
    ([(4, 0), (4, 7)], (4, 3), ["000004.000003", "000004"]),
    ([(4, 0), (4, 7)], (5, 0), ["000005", "000004.000007"]),
])  # fmt: skip
def test_the_last_that_was_saved_is_the_newest_wherever_the_run_was_before(had, then, expected, run, tmp_path):
    checkpoints = Checkpoints(run)
    for epoch, batches in had:
        checkpoints.save(epoch, written(tmp_path / "made", weights=f"{epoch} {batches}"), batches)
    for attempt in range(8):  # whatever its digest is
        checkpoints.save(then[0], written(tmp_path / "made", weights=f"last {attempt}"), then[1])
        with fetched(checkpoints.newest()) as folder:
            assert (folder / "weights").read_text() == f"last {attempt}"
    assert [found.name.partition("-")[0] for found in checkpoints.candidates()] == expected


def test_a_run_that_takes_over_anothers_state_begins_where_that_one_was(run, storage, tmp_path):
    other = Checkpoints(storage / "other", kept=4)
    for epoch in (1, 2, 3):
        other.save(epoch, written(tmp_path / "made", weights=str(epoch)))
        if epoch == 2:
            start = other.newest()
    assert epochs(Checkpoints(run, start=start)) == [2, 1]


def test_a_file_is_delivered_and_outlives_its_checkpoint(run, tmp_path):
    checkpoints = Checkpoints(run)
    checkpoints.deliver("weights")
    assert not run.exists("weights")
    checkpoints.save(1, written(tmp_path / "made", weights="1"))
    checkpoints.deliver("weights")
    run.remove("checkpoints")
    assert run.read("weights") == b"1"


def test_who_was_taken_over_announces_nothing(run, tmp_path):
    hold = Hold(run)
    with hold.held():
        sent = pickle.loads(pickle.dumps(hold))  # to a worker
        Checkpoints(run, sent).save(1, written(tmp_path / "made", weights="1"))
        run.write("alive", b"another-node 1 token")
        with pytest.raises(TakenOverError, match="Another command has taken"):
            Checkpoints(run, sent).save(2, written(tmp_path / "made", weights="2"))
        assert epochs(Checkpoints(run)) == [1]
        hold.lost = True


@pytest.mark.parametrize("content", [None, b"", b"changed"])
def test_a_file_that_is_not_what_was_saved_is_noticed(content, run, tmp_path):
    checkpoints = Checkpoints(run)
    checkpoints.save(1, written(tmp_path / "made", weights="weights"))
    newest = checkpoints.newest()
    newest.remove("weights") if content is None else newest.write("weights", content)
    with pytest.raises(DamagedCheckpointError, match="is damaged"), fetched(newest):
        pass
