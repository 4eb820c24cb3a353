import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Answer, Yolab


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def by_name(answer: Answer) -> dict[str, Any]:
    return {check["what"]: check for check in answer.json()["checks"]}


def test_a_sound_machine_is_ready_and_every_question_is_answered(yolab: Yolab) -> None:
    answer = yolab("doctor", "--json", "--cluster")
    assert (answer.code, answer.json()["ok"]) == (0, True)
    checks = by_name(answer)
    assert checks.pop("nodes")["advice"] == "set RAY_ADDRESS"
    asked = "python torch mlflow ray dvc cores memory gpus precision cluster storage disk data"
    assert set(checks) == {*asked.split(), "mlflow uri"}
    assert checks["cores"]["value"] == str(os.cpu_count())
    assert "made by the first run" in checks["mlflow uri"]["value"]
    assert all(check["ok"] or check["advice"] for check in checks.values())


def test_missing_data_is_no_fault_but_comes_with_advice(yolab: Yolab) -> None:
    answer = yolab("doctor")
    assert answer.code == 0
    [line] = [line for line in answer.out.splitlines() if " data " in line and "optional" in line]
    assert "yolab data demo" in line


def test_a_server_and_a_cluster_that_do_not_answer_are_missing(yolab: Yolab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    answer = yolab("doctor", "--json")
    assert (answer.code, answer.json()["ok"]) == (1, False)
    assert "secret" not in answer.out
    missing = {name for name, check in by_name(answer).items() if check["needed"] and not check["ok"]}
    assert missing == {"mlflow uri", "cluster"}


def test_a_bucket_that_is_not_there_is_missing_and_so_is_a_server_for_its_runs(
    yolab: Yolab, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLAB_STORAGE", "s3://nobody-has-it/runs")
    checks = by_name(yolab("doctor", "--json"))
    assert {name for name, check in checks.items() if check["needed"] and not check["ok"]} == {"storage", "mlflow uri"}
    assert "set MLFLOW_TRACKING_URI" in checks["mlflow uri"]["value"]
    monkeypatch.setenv("YOLAB_STORAGE", f"{s3}/runs")
    assert by_name(yolab("doctor", "--json"))["storage"]["value"] == f"{s3}/runs, takes files"


def test_a_database_with_runs_answers(yolab: Yolab, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    assert by_name(yolab("doctor", "--json"))["mlflow uri"]["value"] == f"{mlflow_uri}, answers"


def test_without_ray_and_dvc_the_rest_still_works(yolab: Yolab, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    installed = metadata.version

    def version(name: str) -> str:
        if name in ("ray", "dvc"):
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(metadata, "version", version)
    answer = yolab("doctor", "--json")
    checks = by_name(answer)
    assert answer.code == 0
    assert (checks["ray"]["ok"], checks["ray"]["needed"]) == (False, False)
    assert "yolab[cluster]" in checks["ray"]["advice"]
    assert "cluster" not in checks
