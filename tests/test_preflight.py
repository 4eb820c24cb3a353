"""What an experiment that was checked carries to those who run it."""

import pickle
from dataclasses import replace

import pytest

from tests import tiny_set
from yolab import preflight
from yolab.errors import UsageError
from yolab.experiment import Model, Scale, build
from yolab.models import weights
from yolab.models.spec import DetectorSpec


def test_a_checked_experiment_carries_its_data_and_travels_without_it(small_set):
    checked = preflight.check(build({}, tiny_set.experiment(small_set), "test"))
    assert (len(checked.data.train.samples), checked.train_images, checked.val_images) == (24, 24, 8)
    assert checked.data_digest == checked.data.digest
    travelled = pickle.loads(pickle.dumps(checked))
    assert travelled.data is None
    assert (travelled.digest, travelled.names) == (checked.digest, ("box", "disc"))
    assert len(pickle.dumps(checked)) < 8192


@pytest.mark.parametrize(
    ("compute", "told"),
    [
        ({"workers": 9}, "compute.workers is 9: each needs at least one"),
        ({"shards": 9}, "compute.shards is 9: each needs at least one"),
        ({"workers": {"min": 1, "max": 2}}, "needs compute.shards"),
        ({"workers": 3, "shards": 2}, "each worker needs a shard"),
        ({"shards": 2, "batch_norm": "synchronised"}, "can't be synchronised with compute.shards"),
        ({"shards": 2, "batch_norm": "worker"}, "can't be worker with compute.shards"),
        ({"batch_norm": "shard"}, "can't be shard without compute.shards"),
    ],
)
def test_workers_and_shards_that_do_not_go_together_are_refused(compute, told, small_set):
    changes = {f"compute__{name}": value for name, value in compute.items()}
    with pytest.raises(UsageError, match=told):
        preflight.check(build({}, tiny_set.experiment(small_set, **changes), "test"))


SMALL = Model(name="yolov7-tiny", scale=Scale(width=0.125, hidden=0.125))
STARTS = {
    "folded.safetensors": (replace(DetectorSpec(SMALL, ("box", "disc"), 64), folded=True), "its graph is folded"),
    "other.safetensors": (DetectorSpec(Model(name="yolov4-tiny"), ("box",), 64), "no convolution of it fits"),
    "model.onnx": (None, "ONNX files and registered models are folded"),
    "models:/mine@champion": (None, "ONNX files and registered models are folded"),
    "absent.safetensors": (None, "There are no weights at"),
    "s3://BUCKET/absent.safetensors": (None, "there is no such file"),
}


@pytest.mark.parametrize("name", STARTS)
def test_what_no_run_can_start_from_is_refused_in_a_sentence(name, small_set, s3, tmp_path):
    spec, told = STARTS[name]
    if spec:
        weights.save(spec.build(), spec, tmp_path / name)
    start = name.replace("s3://BUCKET", s3) if "/" in name else str(tmp_path / name)
    with pytest.raises(UsageError, match=told):
        preflight.check(build({}, tiny_set.experiment(small_set, recipe__start=start), "test"))


def test_a_start_with_other_classes_says_which_begin_fresh(small_set, tmp_path):
    spec = DetectorSpec(SMALL, ("disc", "ring"), 64)
    weights.save(spec.build(), spec, tmp_path / "start.safetensors")
    start = str(tmp_path / "start.safetensors")
    checked = preflight.check(build({}, tiny_set.experiment(small_set, recipe__start=start), "test"))
    assert "1 of 2 classes aren't in start.safetensors and start fresh: box." in checked.warnings
