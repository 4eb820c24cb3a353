"""How often a run may begin."""

from pathlib import Path

import pytest

from yolab.cluster.starts import MOST_STARTS, count_failure, count_start, count_without_memory
from yolab.errors import YolabError
from yolab.storage import Folder
from yolab.storage.checkpoints import Checkpoints


def saved(place: Folder, epoch: int, tmp_path: Path) -> Checkpoints:
    made = tmp_path / f"made-{epoch}"
    made.mkdir()
    (made / "weights").write_bytes(b"any")
    Checkpoints(place).save(epoch, made)
    return Checkpoints(place)


def test_it_begins_as_often_as_it_moves_on_and_not_for_ever_from_one_state(tmp_path):
    place = Folder(tmp_path / "run")
    for epoch in range(1, 2 * MOST_STARTS):
        assert count_start(place, "one", saved(place, epoch, tmp_path)).startswith(f"{epoch:06d}-")
    checkpoints = Checkpoints(place)
    for _ in range(MOST_STARTS - 1):
        count_start(place, "one", checkpoints)
    with pytest.raises(YolabError, match=rf"begun {MOST_STARTS} times from 0000{2 * MOST_STARTS - 1}-.* and was lost"):
        count_start(place, "one", checkpoints)
    count_start(place, "another", checkpoints)  # who goes on by hand begins to count anew


def test_who_ran_out_of_memory_is_not_begun_again(tmp_path):
    place = Folder(tmp_path / "run")
    count_start(place, "one", Checkpoints(place))
    count_without_memory(place, "one")
    with pytest.raises(MemoryError, match="ran out of memory"):
        count_start(place, "one", Checkpoints(place))


def test_failures_of_ones_own_are_counted_whatever_was_begun_between(tmp_path):
    place = Folder(tmp_path / "run")
    assert count_failure(place, "one") == 1
    count_start(place, "one", Checkpoints(place))
    assert count_failure(place, "one") == 2
    assert count_failure(place, "another") == 1
