"""Parts of a detector that training leaves as they are."""

from collections.abc import Sequence
from fnmatch import fnmatch

from yolab.models.detector import Detector


def freeze(model: Detector, patterns: Sequence[str]) -> None:
    """Exclude the nodes whose names match one of the patterns from training."""
    for name in frozen_nodes(list(model.nodes), patterns):
        model.nodes[name].requires_grad_(False)


def frozen_nodes(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the names of nodes that patterns such as stage* stand for."""
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]
