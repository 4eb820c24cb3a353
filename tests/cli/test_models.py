import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Yolab
from yolab.models import zoo


def test_json_lists_every_model_with_its_published_counts(yolab: Yolab) -> None:
    answer = yolab("models", "--json")
    assert answer.code == 0
    rows = {row["name"]: row for row in answer.json()}
    assert set(rows) == set(zoo.BLUEPRINTS)
    assert rows["yolov7-d6"]["published_graph"] == "trained"
    assert rows["yolov7"]["published_params_millions"] == 36.9
    assert rows["yolov7-3s-elan"]["published_gflops"] is None
    assert rows["yolov7"]["params"] == 37_622_682
    assert rows["yolov7"]["params_fused"] == 36_905_341
    assert rows["yolov7"]["gflops"] == pytest.approx(104.5, abs=0.05)
    assert rows["yolov7"]["size"] == 640


def test_the_table_shows_the_same_model_by_name(yolab: Yolab) -> None:
    answer = yolab("models", "yolov7")
    assert answer.code == 0
    assert "37622682" in answer.out
    assert "yolov7-tiny" not in answer.out


def test_a_scale_a_size_and_the_classes_change_the_counts(yolab: Yolab) -> None:
    [plain] = yolab("models", "yolov7-tiny", "--json").json()
    [scaled] = yolab("models", "yolov7-tiny", "--scale", "depth=1.5, width=1.25", "--json").json()
    [large] = yolab("models", "yolov7-tiny", "--size", "1280", "--json").json()
    [few] = yolab("models", "yolov7-tiny", "--classes", "3", "--json").json()
    assert scaled["params"] > plain["params"]
    assert large["params"] == plain["params"]
    assert large["gflops"] == pytest.approx(4 * plain["gflops"], rel=1e-3)
    assert few["params"] < plain["params"]


def test_a_plot_shows_the_cost_over_depth_and_width(yolab: Yolab, tmp_path: Path) -> None:
    answer = yolab("models", "yolov7-tiny", "--size", "64", "--plot", str(tmp_path / "cost.html"))
    assert answer.code == 0
    page = (tmp_path / "cost.html").read_text()
    assert "yolov7-tiny by compound scaling" in page
    assert "latency (ms)" in page


def test_a_misplaced_identity_is_told_of(yolab: Yolab) -> None:
    assert "section 4.1" in yolab("models", "yolov7-3s-elan-e").err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["yolo7"], "Did you mean yolov7?"),
        (["--scale", "dept=1.5"], "Did you mean model.scale.depth?"),
        (["--scale", "1.5"], "write factors such as depth=1.5,width=1.25"),
        (["--scale", "depth=deep"], "write factors such as depth=1.5,width=1.25"),
        (["--scale", "depth=40"], "model.scale.depth can't be 40"),
        (["yolov7", "--size", "100"], "Take 96 or 128"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_what_to_write(yolab: Yolab, arguments: list[str], told: str) -> None:
    answer = yolab("models", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err


def test_help_comes_without_loading_what_is_heavy() -> None:
    code = (
        "import sys\n"
        "from yolab.cli import main\n"
        "sys.argv = ['yolab', '--help']\n"
        "try:\n    main.run()\n"
        "except SystemExit:\n    pass\n"
        "print({'torch', 'mlflow', 'ray', 'dvc', 'cv2'} & set(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"
    assert "doctor" in done.stdout
