"""yolab bench: what it prints."""

import pytest

from tests import tiny_set


@pytest.mark.parametrize(("name", "cases"), [("assignment", 2), ("loader", 4), ("comparison", 2)])
def test_a_benchmark_prints_its_rows_as_json(yolab, tmp_path, name, cases):
    data = ["--data", tiny_set.write(tmp_path / "set", {"train2017": 4})] if name == "loader" else []
    images = ["--images", "4"] if name == "comparison" else []
    answer = yolab("bench", name, *data, *images, "--json")
    assert answer.code == 0, answer.err
    rows = answer.json()
    assert len(rows) == cases
    assert all(row["name"] == name and (row.get("seconds") or row["images_per_second"]) > 0 for row in rows)


@pytest.mark.parametrize(("name", "option"), [("step", "--images"), ("nms", "--size"), ("trial", "--data")])
def test_an_option_that_does_nothing_with_a_benchmark_is_refused(yolab, name, option):
    answer = yolab("bench", name, option, "32")
    assert (answer.code, f"{option} does nothing with the benchmark {name}" in answer.err) == (2, True)


def test_an_unknown_benchmark_is_refused(yolab):
    answer = yolab("bench", "speed")
    assert (answer.code, "take one of assignment, step" in answer.err) == (2, True)
