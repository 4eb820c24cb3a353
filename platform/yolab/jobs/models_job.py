"""Models: what every model costs, as it is and scaled."""

import hashlib
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import torch

from yolab.data.cache import FilesState, Remembered
from yolab.errors import UsageError
from yolab.evaluation.latency import on_threads, seconds_of
from yolab.experiment import Model, Scale, build
from yolab.jobs.result import Result
from yolab.jobs.watcher import SILENT, Watcher
from yolab.models import zoo
from yolab.models.blueprint import check_size, misplaced_identities
from yolab.models.count import Cost, cost, counts_of
from yolab.models.detector import Detector, blueprint_of
from yolab.models.spec import DetectorSpec
from yolab.models.zoo.published_figures import Published
from yolab.reports.scaling_figures import ScaledCost, save_scaling

PUBLISHED = ("published_params_millions", "published_gflops", "published_size", "published_graph")
_DEPTHS, _WIDTHS = (0.33, 0.67, 1.0, 1.5, 2.0), (0.25, 0.5, 0.75, 1.0, 1.25)


@dataclass(frozen=True)
class ModelCost:
    """What a model costs, as `count.Cost` says, on an image of `size` pixels; `published`: what is published of it."""

    name: str
    params: int
    params_fused: int
    gflops: float
    size: int
    published: Published | None


@dataclass(frozen=True)
class Models(Result):
    """`models` in the zoo's order; with `is_scaled` they are others than those that figures are published of."""

    models: tuple[ModelCost, ...]
    is_scaled: bool

    def document(self) -> list[dict[str, Any]]:
        return [self._row(each) for each in self.models]

    def _row(self, model: ModelCost) -> dict[str, Any]:
        row = {name: value for name, value in vars(model).items() if name != "published"}
        if self.is_scaled:
            return row
        published = astuple(model.published) if model.published else (None,) * len(PUBLISHED)
        return row | dict(zip(PUBLISHED, published, strict=True))


@dataclass(frozen=True)
class ScalingPlot(Result):
    """The page `plot` with the cost of so many scaled `models` at `size` pixels."""

    plot: str
    models: int
    size: int


def models(
    name: str | None = None,
    *,
    scale: str | Scale | None = None,
    classes: int = 80,
    size: int | None = None,
    watcher: Watcher = SILENT,
) -> Models:
    """Count one model, or all: parameters as trained and as deployed, operations of one image.

    scale: compound scaling, a Scale or such as "depth=1.5,width=1.25". size: side of the image in pixels; None: the
    model's own. Raises UsageError.
    """
    factors = scale if isinstance(scale, Scale) else _scale_of(scale or "")
    blueprints = [zoo.find(name)] if name else list(zoo.BLUEPRINTS.values())
    for told in misplaced_identities(blueprints[0]) if name else ():
        watcher.note(f"note: {told}")
    remembered = Remembered("models-1", FilesState(sorted(Path(zoo.__file__).parents[1].rglob("*.py"))))
    known = remembered.recall() or {}
    count = len(known)
    counted = tuple(_cost_of(Model(name=each.name, scale=factors), classes, size, known) for each in blueprints)
    if len(known) > count:
        remembered.keep(known)
    return Models(counted, is_scaled=bool(scale))


def plot(
    name: str | None,
    target: str | Path,
    *,
    scale: str | None = None,
    classes: int = 80,
    size: int | None = None,
    watcher: Watcher = SILENT,
) -> ScalingPlot:
    """Count and time a grid of scaled models, on one thread, and draw their cost over depth and width into an .html
    file. Raises UsageError."""
    if name is None:
        raise UsageError("--plot draws one model: name it, such as yolab models yolov7x-light --plot cost.html.")
    if scale:
        raise UsageError("--plot draws a grid of scales: leave --scale out.")
    path = Path(target)
    if path.suffix != ".html":
        raise UsageError(f"--plot writes a page: {path} must end in .html.")
    base = zoo.find(name)
    grid = [Scale(depth=depth, width=width) for depth in _DEPTHS for width in _WIDTHS]
    points = []
    with on_threads(1):
        for number, factors in enumerate(grid):
            watcher.progress("Measuring", number, len(grid))
            spec = DetectorSpec(Model(name=base.name, scale=factors), _names(classes), size or base.image_size)
            try:
                counts = counts_of(spec)
            except UsageError:  # a point that can't exist stays empty
                continue
            milliseconds, millions = 1000 * seconds_of(spec, repeats=2), counts["params_fused"] / 1e6
            points.append(ScaledCost(factors.depth, factors.width, millions, counts["gflops"], milliseconds))
    watcher.progress("Measuring", len(grid), len(grid))
    save_scaling(base.name, points, path)
    return ScalingPlot(str(path), len(points), size or base.image_size)


def _scale_of(text: str) -> Scale:
    """Return the Scale of "depth=1.5,width=1.25". Raises UsageError that says what to write."""
    changes: dict[str, float] = {}
    for part in text.split(",") if text else ():
        factor, _, value = part.partition("=")
        try:
            changes[f"model.scale.{factor.strip()}"] = float(value)
        except ValueError:
            raise UsageError(f"Can't read the scale {text!r}: write factors such as depth=1.5,width=1.25.") from None
    return build({"name": "scaled"}, changes, source="--scale", changed_by="--scale").model.scale


def _cost_of(model: Model, classes: int, size: int | None, known: dict[str, list[Any]]) -> ModelCost:
    """Return what a model costs, by what is `known` of it or else is counted now. Raises UsageError if it can't work at
    this size."""
    blueprint = blueprint_of(model)
    if size is not None:
        with torch.device("meta"):
            stride = max(Detector(blueprint, classes).strides)
        check_size("--size", size, model.name, stride)
    image_size = size or blueprint.image_size
    key = hashlib.sha256(f"{blueprint!r} {classes} {image_size}".encode()).hexdigest()
    if key not in known:
        known[key] = list(astuple(cost(blueprint, classes, image_size)))
    counted = Cost(*known[key])
    gflops = round(counted.gflops, 3)
    return ModelCost(
        model.name, counted.params, counted.params_fused, gflops, image_size, zoo.PUBLISHED.get(model.name)
    )


def _names(classes: int) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(classes))
