"""Weights and images of the golden model vectors, drawn from their seeds."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "golden"


def read(name: str) -> dict:
    return json.loads(gzip.decompress((GOLDEN / f"model-{name}.json.gz").read_bytes()))


def weights(golden: dict) -> dict[str, Tensor]:
    """The reference's tensors by its names, in its order, without those that every model has by itself."""
    drawn = {}
    for index, (name, shape) in enumerate(golden["keys"]):
        generator = np.random.default_rng([golden["seed"], index])
        if name.endswith(("anchors", "anchor_grid", "num_batches_tracked")):
            continue
        if name.endswith("running_mean"):
            values = 0.1 * generator.standard_normal(shape)
        elif name.endswith("running_var"):
            values = generator.uniform(0.5, 1.5, shape)
        elif name.endswith("implicit"):
            values = 0.02 * generator.standard_normal(shape) + (1 if ".im." in name else 0)
        elif len(shape) == 1:
            is_weight = name.endswith("weight")
            values = generator.uniform(0.5, 1.5, shape) if is_weight else 0.1 * generator.standard_normal(shape)
        else:
            values = generator.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
        drawn[name] = torch.from_numpy(np.asarray(values, dtype=np.float32))
    return drawn


def image(golden: dict) -> Tensor:
    generator = np.random.default_rng([golden["seed"], 1000000])
    return torch.from_numpy(generator.random(golden["input_shape"], dtype=np.float32))


def load_in_order(model: torch.nn.Module, tensors: dict[str, Tensor]) -> None:
    """Both sides number their tensors in the order of the graph, so they correspond one to one."""
    own = {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert [tuple(v.shape) for v in own.values()] == [tuple(v.shape) for v in tensors.values()]
    model.load_state_dict(dict(zip(own, tensors.values())), strict=False)
