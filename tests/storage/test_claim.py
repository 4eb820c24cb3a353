"""Folders of runs: made once, and gone back to only with the same work."""

import pytest

from yolab.errors import UsageError
from yolab.storage import claim


def test_names_are_numbered_and_the_last_is_gone_on_with(storage):
    assert claim.last_numbered(storage, "run") is None
    with pytest.raises(UsageError, match="There is no run run"):
        claim.last_used(storage, "run")
    for expected in ("run", "run-2", "run-3"):
        place = claim.unused(storage, "run")
        assert place.name == expected
        claim.claim(place, {"digest": expected})
    assert claim.last_used(storage, "run").name == "run-3"


def test_a_place_is_claimed_once_and_gone_back_to_with_the_same_work(storage):
    place = storage / "run"
    key = claim.claim(place, {"digest": "a", "workers": 1})
    with pytest.raises(UsageError, match="There is a run or sweep run"):
        claim.claim(place, {"digest": "a", "workers": 1})
    assert claim.reclaim(place, {"digest": "a", "workers": 1}) == key
    with pytest.raises(UsageError, match=r"described otherwise \(workers\)"):
        claim.reclaim(place, {"digest": "a", "workers": 2})
    claim.extend(place, {"digest": "a", "workers": 2})
    assert claim.claimed(place) == (key, {"digest": "a", "workers": 2})
    with pytest.raises(UsageError, match="it has no sound run"):
        claim.claimed(storage / "other")


def test_only_what_has_changed_is_named(storage):
    place = storage / "search"
    claim.claim(place, {"objectives": ("ap",), "trials": 4})
    with pytest.raises(UsageError, match=r"described otherwise \(trials\)"):
        claim.reclaim(place, {"objectives": ("ap",), "trials": 5})


def test_what_was_begun_with_the_same_work_is_found_among_others_of_its_name(storage):
    works = [{"digest": "a"}, {"digest": "b"}, {"digest": "a"}, {"digest": "c"}]
    for work in works:
        claim.claim(claim.unused(storage, "run"), work)
    found = {digest: claim.begun(storage, "run", {"digest": digest}) for digest in "abcd"}
    assert {digest: place and place.name for digest, place in found.items()} == {
        "a": "run-3", "b": "run-2", "c": "run-4", "d": None,
    }  # fmt: skip
