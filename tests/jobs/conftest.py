"""Fixtures for the tests of jobs."""

from pathlib import Path

import pytest
import torch

from yolab.experiment import Model, Scale
from yolab.models import weights
from yolab.models.spec import DetectorSpec


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small detector of boxes and discs at 64 px, which has learnt nothing."""
    torch.manual_seed(0)
    spec = DetectorSpec(Model(name="yolov7-tiny", scale=Scale(width=0.125, hidden=0.125)), ("box", "disc"), 64)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    weights.save(spec.build(), spec, path)
    return path
