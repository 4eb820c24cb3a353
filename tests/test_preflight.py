"""What an experiment that was checked carries to those who run it."""

import pickle

from tests import tiny_set
from yolab import preflight
from yolab.experiment import build


def test_a_checked_experiment_carries_its_data_and_travels_without_it(small_set):
    checked = preflight.check(build({}, tiny_set.experiment(small_set), "test"))
    assert (len(checked.data.train.samples), checked.train_images, checked.val_images) == (24, 24, 8)
    assert checked.data_digest == checked.data.digest
    travelled = pickle.loads(pickle.dumps(checked))
    assert travelled.data is None
    assert (travelled.digest, travelled.names) == (checked.digest, ("box", "disc"))
    assert len(pickle.dumps(checked)) < 8192
