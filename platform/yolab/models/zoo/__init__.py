"""Every model by name; a family is a short file of data."""

from yolab.errors import UsageError
from yolab.experiment import nearest
from yolab.models.blueprint import Blueprint
from yolab.models.zoo.tiny import YOLOV7_TINY, YOLOV7_TINY_SILU
from yolab.models.zoo.yolov7 import YOLOV7

BLUEPRINTS: dict[str, Blueprint] = {b.name: b for b in (YOLOV7_TINY, YOLOV7_TINY_SILU, YOLOV7)}


def find(name: str) -> Blueprint:
    """Return the blueprint of that name. Raises UsageError with the nearest name."""
    if name not in BLUEPRINTS:
        raise UsageError(
            f"There is no model {name}. Did you mean {nearest(name, BLUEPRINTS)}? `yolab models` lists all."
        )
    return BLUEPRINTS[name]
