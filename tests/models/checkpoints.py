"""Files as the reference implementation pickles them: an object of classes that exist nowhere here, in fp16."""

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn


@contextmanager
def reference_classes() -> Iterator[types.SimpleNamespace]:
    """Classes that claim to come from the reference's modules, only while a file is written."""
    made = {}
    for module, name in (("models.yolo", "Model"), ("models.common", "Conv"), ("models.common", "Layer")):
        made[name] = type(name, (nn.Module,), {"__module__": module, "__qualname__": name})
    modules = {name: types.ModuleType(name) for name in ("models", "models.yolo", "models.common")}
    for kind in made.values():
        setattr(modules[kind.__module__], kind.__name__, kind)
    sys.modules.update(modules)
    try:
        yield types.SimpleNamespace(**made)
    finally:
        for name in modules:
            del sys.modules[name]


def write(path: Path, tensors: dict[str, Tensor], activation: nn.Module, **about: object) -> Path:
    """Save a checkpoint whose model has these tensors by the reference's names."""
    with reference_classes() as kinds:
        model = kinds.Model()
        for name, value in tensors.items():
            *parents, leaf = name.split(".")
            module = model
            for parent in parents:
                if parent not in module._modules:
                    module.add_module(parent, kinds.Layer())
                module = module._modules[parent]
            value = value.half() if value.is_floating_point() else value
            if leaf.startswith(("running", "num", "anchor")):
                module.register_buffer(leaf, value)
            else:
                module.register_parameter(leaf, nn.Parameter(value))
        next(iter(model._modules["model"]._modules.values())).act = activation
        for key, value in about.items():
            setattr(model, key, value)
        torch.save({"epoch": -1, "best_fitness": None, "model": model, "ema": None, "optimizer": None}, path)
    return path
