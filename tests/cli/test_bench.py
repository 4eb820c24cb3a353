"""yolab bench: what it prints."""

import pytest

from tests import tiny_set


@pytest.mark.parametrize(("name", "cases"), [("assignment", 2), ("loader", 4), ("comparison", 2)])
def test_a_benchmark_prints_its_rows_as_json(yolab, tmp_path, name, cases):
    data = ["--data", tiny_set.write(tmp_path / "set", {"train2017": 4})] if name == "loader" else []
    answer = yolab("bench", name, *data, "--images", "4", "--json")
    assert answer.code == 0, answer.err
    rows = answer.json()
    assert len(rows) == cases
    assert all(row["name"] == name and (row.get("seconds") or row["images_per_second"]) > 0 for row in rows)


def test_an_unknown_benchmark_is_refused(yolab):
    answer = yolab("bench", "speed")
    assert (answer.code, "take one of assignment, step" in answer.err) == (2, True)
