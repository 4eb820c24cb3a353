"""What a sweep is asked for, as its job understands it."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from yolab.search.request import SweepRequest
from yolab.storage import Folder, claim

sweep_job = importlib.import_module("yolab.jobs.sweep_job")  # itself, and not the stand-in for it
SOURCE = SweepRequest({"name": "e"}, "digest", {}, "tpe", "asha", ("ap",), 7, 9, 4, 2)


@pytest.mark.parametrize(
    ("said", "changed"),
    [
        ({}, {}),
        ({"trials": 3, "retries": 0}, {"trials": 3, "retries": 0}),
        ({"grace": 2}, {"grace": 2}),
        ({"scheduler": "none"}, {"scheduler": "none", "grace": None, "reduction": None}),
        ({"objectives": ["ap50"]}, {"objectives": ("ap50",)}),
        ({"searcher": "grid"}, {"searcher": "grid", "trials": None}),
    ],
)
def test_a_fork_is_as_its_source_in_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], changed: dict[str, Any]
) -> None:
    claim.claim(Folder(tmp_path) / "search", SOURCE.work())
    asked: list[Any] = []
    monkeypatch.setattr(sweep_job, "_begin", lambda described, space, plan, *more: asked.append(plan))
    sweep_job.fork("search", "recipe", storage=tmp_path, **said)
    kept = {"searcher": "tpe", "scheduler": "asha", "objectives": ("ap",), "trials": 7, "grace": 9, "reduction": 4}
    assert vars(asked[0]) == {"name": "search-fork", "retries": 2, "restartable": False} | kept | changed
