"""Every model by name; a family is a short file of data."""

from yolab.errors import UsageError
from yolab.experiment import did_you_mean
from yolab.models.blueprint import Blueprint
from yolab.models.zoo import p6, planned, tiny, yolor, yolov3, yolov4, yolov7
from yolab.models.zoo.published_figures import PUBLISHED as PUBLISHED

BLUEPRINTS: dict[str, Blueprint] = {
    blueprint.name: blueprint
    for family in (tiny, yolov7, p6, yolor, yolov4, yolov3, planned)
    for name, blueprint in vars(family).items()
    if isinstance(blueprint, Blueprint) and name.isupper() and not name.startswith("_")
}


def find(name: str) -> Blueprint:
    """Return the blueprint of that name. Raises UsageError with the nearest name."""
    if name not in BLUEPRINTS:
        raise UsageError(f"There is no model {name}.{did_you_mean(name, BLUEPRINTS)} `yolab models` lists all.")
    return BLUEPRINTS[name]
