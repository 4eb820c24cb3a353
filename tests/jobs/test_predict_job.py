"""predict, called as a function."""

import subprocess
import sys
from pathlib import Path

import pytest

from yolab.errors import UsageError
from yolab.jobs import predict_job


def test_predict_takes_one_path_or_several_and_returns_objects_in_the_images_pixels(
    small_set: Path, small_weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = sorted((small_set / "val2017").iterdir())[:2]
    given = {"weights": small_weights, "output": tmp_path, "confidence": 0.001}
    both = predict_job.predict([first, str(second)], **given)
    assert [each.image for each in both] == [str(first), str(second)]
    (one,) = predict_job.predict(first, **given).images
    assert (one.image, one.picture) == (both.images[0].image, both.images[0].picture)
    assert Path(one.picture).stat().st_size > 0
    assert {each.name for each in one.objects} <= {"box", "disc"}
    assert len(one.objects) > 0
    document = both.document()[0]
    assert set(document) == {"image", "picture", "objects"}
    assert set(document["objects"][0]) == {"class", "score", "box"}
    assert capfd.readouterr().out == ""


def test_what_is_not_there_is_a_usage_error(small_set: Path, small_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="doesn't exist"):
        predict_job.predict(tmp_path / "nothing.png", small_weights)
    with pytest.raises(UsageError, match="There are no weights"):
        predict_job.predict(small_set / "val2017", tmp_path / "none.safetensors")


def test_a_local_file_needs_no_registry(small_weights: Path) -> None:
    code = (
        "import sys\n"
        "from yolab.jobs import evaluate_job, export_job, predict_job\n"
        "from yolab.jobs.weights_source import lineage_of, open_weights\n"
        "open_weights(sys.argv[1]), lineage_of(sys.argv[1])\n"
        "print({'mlflow', 'ray', 'dvc'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, small_weights], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
