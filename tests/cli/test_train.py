"""train, evaluate, predict and promote as a user calls them: one small run, and every way to get it wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from tests import tiny_set
from tests.terminal import answering
from yolab.experiment import build
from yolab.storage import Folder
from yolab.storage.hold import Hold
from yolab.tracking.metric_names import in_mlflow
from yolab.tracking.mlflow_runs import list_runs

SCORES = {"ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"}


def in_its_own_process(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "yolab.cli", *arguments], cwd=folder, capture_output=True, text=True, timeout=200
    )


def write_experiment(folder: Path, root: Path, **changes: object) -> None:
    described = build({}, tiny_set.experiment(root, **changes), "test").model_dump()
    (folder / "tiny.yaml").write_text(yaml.safe_dump(described))


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def trained(small_set, tmp_path_factory, migrated_database) -> tuple[Path, dict]:
    """A folder in which a run has ended, and what it printed as JSON."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "runs").mkdir()
    shutil.copyfile(migrated_database, folder / "runs" / "mlflow.db")
    write_experiment(folder, small_set)
    done = in_its_own_process(folder, "train", "tiny.yaml", "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_train_prints_scores_as_fractions_and_logs_a_run_that_can_be_reproduced(trained):
    folder, printed = trained
    assert set(printed) >= SCORES
    (run,) = list_runs(f"sqlite:///{folder}/runs/mlflow.db", where="attributes.run_name = 'tiny'")
    assert run["status"] == "FINISHED"
    assert run["params"]["recipe.batch"] == "8"
    assert run["metrics"]["schedule/accumulate"] == 1
    assert set(run["tags"]) >= {"yolab.digest", "yolab.data_digest", "yolab.data_version", "yolab.weights"}
    assert run["metrics"]["loss"] > 0
    assert any(name.startswith("system/") for name in run["metrics"])


def test_evaluate_repeats_the_scores_of_the_run(yolab, trained, small_set):
    folder, printed = trained
    done = yolab("evaluate", "--weights", folder / printed["weights"], "--data", small_set, "--json")
    assert done.code == 0, done.err
    scores = done.json()
    assert {name: scores[name] for name in SCORES} == {name: printed[name] for name in SCORES}


def test_a_split_or_classes_without_data_are_refused_and_not_forgotten(yolab, trained, monkeypatch):
    monkeypatch.chdir(trained[0])
    for option in (["--split", "train2017"], ["--classes", "box=disc"]):
        done = yolab("evaluate", "tiny", *option)
        assert (done.code, f"{option[0]} is for the data that --data names" in done.err) == (2, True)


def test_a_finished_run_has_nothing_left_to_do_and_stays_as_it_is(yolab, trained, monkeypatch):
    folder, printed = trained
    monkeypatch.chdir(folder)
    (before,) = list_runs(f"sqlite:///{folder}/runs/mlflow.db", where="attributes.run_name = 'tiny'")
    done = yolab("train", "tiny.yaml", "--resume", "--json")
    assert (done.code, "Nothing is left to do of tiny." in done.err) == (0, True)
    assert done.json() == printed
    (after,) = list_runs(f"sqlite:///{folder}/runs/mlflow.db", where="attributes.run_name = 'tiny'")
    assert (after["end_time"], after["status"]) == (before["end_time"], "FINISHED")


def test_pictures_and_detections_of_the_last_evaluation_are_in_mlflow(trained):
    folder, printed = trained
    client = MlflowClient(f"sqlite:///{folder}/runs/mlflow.db")
    kept = {Path(file.path).name for file in client.list_artifacts(printed["run_id"], "evaluation")}
    assert kept >= {"detections-000001.parquet", "precision_recall.html", "confusion.html", "worst.jpg"}
    assert {"ap/box", "ap/disc", "ar_100", "step_forward_seconds"} <= set(printed["metrics"])


def test_every_metric_of_a_run_is_in_a_group_of_mlflows_page(trained):
    _, printed = trained
    assert [name for name in printed["metrics"] if "/" not in in_mlflow(name)] == []


def test_evaluate_draws_a_report_and_writes_what_a_test_server_scores(yolab, trained, small_set, tmp_path):
    folder, printed = trained
    blind = tmp_path / "blind"
    shutil.copytree(small_set, blind)
    (blind / "annotations" / "instances_val2017.json").unlink()
    content = json.loads((small_set / "annotations" / "instances_val2017.json").read_text())
    content.pop("annotations")
    (blind / "annotations" / "image_info_val2017.json").write_text(json.dumps(content))
    weights = ["--weights", folder / printed["weights"]]
    done = yolab("evaluate", *weights, "--data", blind, "--submission", tmp_path / "out" / "submission.json")
    assert (done.code, "nothing to score against" in done.err) == (0, True), done.err
    rows = json.loads((tmp_path / "out" / "submission.json").read_text())
    assert set(rows[0]) == {"image_id", "category_id", "bbox", "score"}
    done = yolab("evaluate", *weights, "--data", small_set, "--report", tmp_path / "seen")
    assert done.code == 0, done.err
    drawn = {"detections.parquet", "precision_recall.html", "confusion.html", "worst.jpg"}
    assert contents(tmp_path / "seen") == drawn


def test_predict_draws_a_picture_for_each_image(yolab, trained, small_set):
    folder, printed = trained
    images, weights = small_set / "val2017", ["--weights", folder / printed["weights"]]
    done = yolab("predict", images, *weights, "--most", 2, "--confidence", 0.001, "--output", folder / "out", "--json")
    assert done.code == 0, done.err
    results = done.json()
    assert [Path(result["picture"]).name for result in results] == ["001.png", "002.png"]
    assert all(Path(result["picture"]).stat().st_size > 0 for result in results)
    assert set(results[0]["objects"][0]) == {"class", "score", "box"}
    odd = yolab("predict", images, *weights, "--size", 70)
    assert (odd.code, "Take 64 or 96" in odd.err) == (2, True)
    taken = yolab("predict", images, *weights, "--output", folder / "tiny.yaml")
    assert taken.code == 2


def test_promote_registers_a_champion_once_and_a_gate_can_say_no(yolab, trained, small_set, monkeypatch):
    folder, printed = trained
    monkeypatch.chdir(folder)
    uri, promote = f"sqlite:///{folder}/runs/mlflow.db", ["promote", "tiny", "--model", "tiny-detector"]
    (before,) = list_runs(uri, where="attributes.run_name = 'tiny'")
    refused = yolab(*promote, "--min-ap50", 0.99)
    assert (refused.code, "AP50 at least 0.99" in refused.err) == (3, True)
    first = yolab(*promote, "--json")
    assert first.code == 0, first.err
    assert first.json()["new"] is True
    assert "folded outputs equal" in first.err
    (after,) = list_runs(uri, where="attributes.run_name = 'tiny'")
    assert (after["end_time"], after["status"]) == (before["end_time"], before["status"])
    assert yolab(*promote, "--json").json() == first.json() | {"new": False}
    assert yolab(*promote, "--min-ap50", 0.99).code == 3
    [version] = MlflowClient(uri).search_model_versions("name = 'tiny-detector'")
    said = f"yolov7-tiny, 64 px, 2 classes. AP {printed['ap']:.4f}"
    assert version.description.startswith(said)
    assert version.description.endswith("on val2017 of tiny (not pinned). From the run tiny.")
    scores = yolab("evaluate", "--weights", "models:/tiny-detector@champion", "--data", small_set, "--json")
    assert scores.code == 0, scores.err
    assert scores.json()["ap"] == pytest.approx(first.json()["ap"], abs=1e-6)
    nobody = yolab("promote", "tinny", "--model", "tiny-detector")
    assert (nobody.code, "tinny is not there" in nobody.err) == (2, True)
    idle = yolab(*promote, "--data", small_set)
    assert (idle.code, "are for a file of weights" in idle.err) == (2, True)
    assert yolab("predict", small_set / "val2017", "--weights", "models:/nobody@champion").code == 2


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model.dept=2", "Did you mean model.scale.depth?"),
        ("recipe.batch=0", "recipe.batch can't be 0"),
        ("recipe.epochs=many", "recipe.epochs can't be 'many'"),
        ("data.image_size=100", "Take 96 or 128"),
        ("recipe.batch=8192", "has 24 images"),
        ("compute.cpus_per_worker=4096", "room for 0 such workers"),
        ("data.image_size=1000000", "(in the command line)"),
        ("compute.workers=4096", "Lower one of them, or connect a larger cluster"),
        ("model.name=yolov77", "Did you mean yolov7"),
        ("data.path=nowhere", "nowhere"),
        ("assigner.policy=coarse_to_fine", "has no auxiliary head"),
        ("recipe.freeze=[stages]", "Did you mean stage"),
        ("data.classes=[cow=ox]", "has no class 'cow'"),
        ("recipe.batch", "write key.path=value"),
    ],
)
def test_a_wrong_experiment_gets_one_sentence_exit_code_2_and_creates_nothing(
    yolab, small_set, tmp_path, override, told, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path, small_set, recipe__batch=8192 if "workers=4096" in override else 8)
    done = yolab("train", "tiny.yaml", override)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert contents(tmp_path) == {"tiny.yaml"}


def test_faulty_data_is_refused_with_a_summary_or_skipped_and_counted(yolab, small_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_set, tmp_path / "faulty")
    (tmp_path / "faulty" / "train2017" / "003.png").write_bytes(b"no image")
    write_experiment(tmp_path, tmp_path / "faulty", recipe__epochs=1)
    refused = yolab("train", "tiny.yaml")
    assert (refused.code, "003.png" in refused.err) == (2, True)
    assert contents(tmp_path) == {"tiny.yaml", "faulty"}
    skipped = yolab("train", "tiny.yaml", "data.on_error=skip")
    assert skipped.code == 0, skipped.err
    assert "Skipped 1" in skipped.err
    (run,) = list_runs(f"sqlite:///{tmp_path}/runs/mlflow.db", where="attributes.run_name = 'tiny'")
    assert [value for tag, value in run["tags"].items() if tag.startswith("yolab.skipped.")] == ["1"]


def test_a_run_that_somebody_works_on_is_not_resumed(yolab, trained, monkeypatch):
    folder, _ = trained
    monkeypatch.chdir(folder)
    with Hold(Folder(folder / "runs" / "tiny")).held():
        done = yolab("train", "tiny.yaml", "--resume")
    assert (done.code, "Another command works on" in done.err) == (2, True)


def test_a_command_that_may_be_begun_again_waits_until_nobody_works_on_its_run(yolab, trained, monkeypatch):
    folder, printed = trained
    monkeypatch.chdir(folder)
    with Hold(Folder(folder / "runs" / "tiny")).held():
        words = [sys.executable, "-m", "yolab.cli", "train", "tiny.yaml", "--restartable", "--json"]
        waiting = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while "this one waits until it has ended" not in (line := waiting.stderr.readline()):
            assert line, "it didn't wait"
        assert waiting.poll() is None
    out, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, json.loads(out)) == (0, printed)


def stopped(
    folder: Path, stop: signal.Signals, tell: Callable[[int, int], None], *overrides: str, **answers: Any
) -> None:
    """Train, let it be told to stop after its first epoch, and check that it says how to go on; `answers`: to signals
    as it begins."""
    arguments = [sys.executable, "-m", "yolab.cli", "train", "tiny.yaml", *overrides]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    begin = answering({signal.Signals[name]: answer for name, answer in answers.items()})
    running = subprocess.Popen(arguments, cwd=folder, start_new_session=True, preexec_fn=begin, **pipes)
    deadline = time.monotonic() + 120
    while not any((folder / "runs" / "tiny").glob("checkpoints/*/manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    tell(running.pid, stop)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 130, errors
    assert "--resume" in errors
    assert "Traceback" not in errors


def twice(group: int, stop: int) -> None:
    """Tell the process and its group, as `timeout` does."""
    os.kill(group, stop)
    os.killpg(group, stop)


@pytest.mark.parametrize(
    ("stop", "tell", "processes"),
    [
        (signal.SIGINT, os.killpg, 2),
        (signal.SIGTERM, twice, 2),
        (signal.SIGHUP, os.killpg, 2),
        (signal.SIGHUP, os.kill, 0),
    ],
)
def test_whatever_tells_it_to_stop_and_whom_it_tells_the_state_is_saved(stop, tell, processes, small_set, tmp_path):
    write_experiment(tmp_path, small_set, recipe__epochs=400, recipe__evaluate_every=400)
    stopped(tmp_path, stop, tell, f"compute.loader_processes={processes}")


def test_an_interruption_ends_as_one_though_cleaning_up_stumbles_over_it(yolab, small_set, tmp_path, monkeypatch):
    def learn(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            os.close(999)  # as shutil.rmtree closes what was closed already

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("yolab.jobs.train_job.learn", learn)
    write_experiment(tmp_path, small_set)
    done = yolab("train", "tiny.yaml")
    assert (done.code, "--resume" in done.err, "Traceback" in done.err) == (130, True, False)


@pytest.mark.parametrize(
    ("stop", "answers", "again"),
    [(signal.SIGINT, {}, "--resume"), (signal.SIGTERM, {"SIGINT": signal.SIG_IGN}, "--restartable")],
    ids=["Ctrl-C", "SIGTERM in the background of a script, where Ctrl-C is ignored"],
)
def test_an_interruption_ends_with_code_130_and_resume_finishes_the_same_run(
    stop, answers, again, yolab, small_set, tmp_path, monkeypatch
):
    write_experiment(tmp_path, small_set, recipe__epochs=40, recipe__evaluate_every=40)
    stopped(tmp_path, stop, os.kill, **answers)
    uri = f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert [run["status"] for run in list_runs(uri, where="attributes.run_name = 'tiny'")] == ["KILLED"]

    monkeypatch.chdir(tmp_path)
    # other work can't be gone on with: by --restartable it is a run of its own
    assert yolab("train", "tiny.yaml", "recipe.epochs=1", again).code == (2 if again == "--resume" else 0)
    done = yolab("train", "tiny.yaml", again)
    assert done.code == 0, done.err
    assert "epoch 1/40" not in done.err
    assert [run["status"] for run in list_runs(uri, where="attributes.run_name = 'tiny'")] == ["FINISHED"]


def test_an_mlflow_server_that_does_not_answer_is_named_before_anything_is_created(
    yolab, small_set, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path, small_set, tracking__uri="http://127.0.0.1:9")
    done = yolab("train", "tiny.yaml")
    assert (done.code, "127.0.0.1:9" in done.err) == (1, True)
    assert contents(tmp_path) == {"tiny.yaml"}
