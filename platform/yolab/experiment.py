"""The typed description of one run: schema, YAML with `extends`, presets, overrides, digest.

Merged in this order, later wins: defaults, presets, the files along `extends`, the overrides of the command line.
Presets are expanded first, so every value in them can be overridden and searched.
"""

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yolab import yaml_file
from yolab.errors import UsageError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # of runs and sweeps: they are folders, too


class Section(BaseModel):
    """A frozen part of an experiment; unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Scale(Section):
    """Compound scaling (paper, section 3.2): factors of chain lengths, of outer widths, of the blocks' own widths."""

    depth: float = Field(1.0, ge=0.25, le=4)
    width: float = Field(1.0, ge=0.0625, le=4)
    hidden: float = Field(1.0, ge=0.0625, le=4)


class Model(Section):
    name: str = "yolov7"
    scale: Scale = Scale()
    activation: Literal["silu", "leaky_relu"] | None = Field(None, description="None: the model's own")
    partial_auxiliary: bool = Field(
        True, description="with E-ELAN: the auxiliary head reads one of a block's two sets, not their sum (Table 8)"
    )


class Assigner(Section):
    """Which prediction learns which object (paper, section 4.2)."""

    policy: Literal["plain", "lead", "independent", "lead_guided", "coarse_to_fine"] = Field(
        "lead", description="plain: no simOTA; lead: no auxiliary head; the rest: both heads (Table 6)"
    )
    constrained: bool = Field(True, description="keep the auxiliary head's centres near their cells (Table 7)")
    top_k: int = Field(10, ge=1, le=100, description="an object takes as many as the sum of its top_k best IoUs says")
    radius: float = Field(
        0.5, gt=0, le=1, description="how near a cell's border a centre proposes the neighbour, in cells"
    )
    coarse_radius: float = Field(1.0, gt=0, le=1, description="the same for the auxiliary head of coarse_to_fine")
    anchor_threshold: float = Field(4.0, gt=1)
    iou_weight: float = Field(3.0, ge=0, description="of -log(IoU) in the cost of a match")
    class_weight: float = Field(1.0, ge=0, description="of the class's cross entropy in the cost of a match")
    auxiliary_weight: float = Field(0.25, ge=0, description="of the auxiliary head's loss")

    @property
    def needs_auxiliary(self) -> bool:
        return self.policy not in ("plain", "lead")


class Augment(Section):
    """Probabilities and ranges of the augmentation; mosaic9 is the share of nines among the mosaics, close_mosaic that
    of the run, at its end, that goes without mosaic, mixup and paste-in."""

    preset: Literal["p5", "tiny", "none"] = "p5"
    mosaic: Share
    mosaic9: Share
    close_mosaic: Share
    mixup: Share
    paste_in: Share = Field(description="objects cut out of other images, where the data has polygons")
    scale: Share
    translate: Share
    rotate: float = Field(ge=0, le=180, description="degrees, at most, in either direction")
    shear: float = Field(ge=0, le=45, description="degrees, at most, in either direction")
    perspective: float = Field(ge=0, le=0.001)
    hue: Share
    saturation: Share
    brightness: Share
    flip: Share
    vertical_flip: Share


class Data(Section):
    """A folder in COCO layout: `annotations/instances_<split>.json`, images in `<split>/`."""

    path: str = "data/coco"
    also: list[str] = Field([], description="folders whose training split is learned from, too")
    classes: list[str] = Field(
        [], description="changes: [car=vehicle, truck=vehicle, person=] merges two and drops one"
    )
    repeat_threshold: Share = Field(0.0, description="classes in a smaller share of the images are repeated (LVIS)")
    train: str = "train2017"
    val: str = "val2017"
    image_size: int = Field(640, gt=0, le=8192, description="pixels of the long side")
    on_error: Literal["fail", "skip"] = "fail"
    augment: Augment


class Optimiser(Section):
    name: Literal["sgd"] = "sgd"
    lr: Positive
    lr_final: Share = Field(description="the last learning rate as a factor of the first")
    momentum: Share
    weight_decay: float = Field(ge=0, description="at the nominal batch")
    clip: Positive | None = Field(None, description="the gradients' norm, at most; None: any")


class Warmup(Section):
    """Over max(`epochs`, `batches`), but never longer than `at_most`, a share of the run."""

    epochs: float = Field(ge=0)
    batches: int = Field(ge=0)
    at_most: Share
    bias_lr: float = Field(ge=0)
    momentum: Share


class Ema(Section):
    """Decay towards `decay` with time constant `ramp` (optimiser steps); in a short run the average looks back over
    `at_most`, a share of the run, instead."""

    decay: float = Field(ge=0, lt=1)
    ramp: Positive
    at_most: Share


class Loss(Section):
    """Gains of the three parts, for 3 levels, 80 classes and 640 px; scaled to the model and data at hand."""

    box: float = Field(ge=0)
    objectness: float = Field(ge=0)
    classification: float = Field(ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="classes are wanted with 1 - half of it, not 1")
    focal_gamma: float = Field(0.0, ge=0, description="of focal loss, for objectness and class; 0: plain cross entropy")


class Recipe(Section):
    preset: Literal["p5", "tiny"] = "p5"
    epochs: int = Field(300, ge=1)
    batch: int = Field(128, ge=1, description="images of one step over all workers")
    nominal_batch: int = Field(64, ge=1, description="gradients are accumulated to this many images")
    steps_at_least: int = Field(
        1000, ge=0, description="accumulation never leaves a run fewer optimiser steps than this"
    )
    start: str | None = Field(None, description="weights to start from: a .safetensors file of yolab's")
    freeze: list[str] = Field([], description="nodes of the graph to leave as they start, such as [stem, 'stage*']")
    multi_scale: float = Field(0.0, ge=0, le=0.9, description="sizes of batches vary by up to this share of image_size")
    autoanchor: bool = Field(True, description="other anchors where the model's own miss over 2 % of the boxes")
    evaluate_every: int = Field(1, ge=1, description="epochs; the last one is always evaluated")
    patience: int | None = Field(
        None, ge=1, description="stop after so many evaluations without a better 0.1·AP50 + 0.9·AP; None: never"
    )
    optimiser: Optimiser
    warmup: Warmup
    ema: Ema
    loss: Loss


class Compute(Section):
    workers: int = Field(1, ge=1)
    gpus_per_worker: int = Field(0, ge=0)
    cpus_per_worker: int = Field(1, ge=1)
    loader_processes: int = Field(0, ge=0)
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"


class Tracking(Section):
    uri: str = Field("auto", description="of MLflow; auto: MLFLOW_TRACKING_URI, or an SQLite file in runs/")
    experiment: str | None = Field(None, description="None: the experiment's name")


class Experiment(Section):
    name: str = Field(pattern=NAME)
    model: Model = Model()
    assigner: Assigner = Assigner()
    data: Data
    recipe: Recipe
    compute: Compute = Compute()
    tracking: Tracking = Tracking()
    seed: int = Field(0, ge=0)

    def digest(self, data_digest: str, start_digest: str | None = None) -> str:
        """Return 12 hex digits that are equal for equal work: all that changes the result, with the data and the
        weights to start from by content instead of by path, without names, tracking and resources."""
        described = self.model_dump(exclude={"name": True, "tracking": True, "data": {"path", "also"}})
        described["compute"] = {"precision": self.compute.precision}
        described["data"]["content"] = data_digest
        described["recipe"]["start"] = start_digest
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]

    def flat(self) -> dict[str, Any]:
        """Return every value by its dotted path, as MLflow's parameters and the search spaces name it."""
        return dict(_flatten(self.model_dump()))


_AUGMENT = dict.fromkeys(set(Augment.model_fields) - {"preset"}, 0.0)
_AUGMENT |= {"mosaic": 1.0, "mosaic9": 0.2, "hue": 0.015, "saturation": 0.7, "brightness": 0.4, "flip": 0.5}
_AUGMENT_PRESETS: dict[str, dict[str, Any]] = {
    "p5": _AUGMENT | {"mixup": 0.15, "paste_in": 0.15, "scale": 0.9, "translate": 0.2},
    "tiny": _AUGMENT | {"mixup": 0.05, "paste_in": 0.05, "scale": 0.5, "translate": 0.1},
    "none": dict.fromkeys(_AUGMENT, 0.0),
}


def _recipe_preset(lr_final: float, gains: tuple[float, float, float]) -> dict[str, Any]:
    box, objectness, classification = gains
    return {
        "optimiser": {"lr": 0.01, "lr_final": lr_final, "momentum": 0.937, "weight_decay": 0.0005},
        "warmup": {"epochs": 3, "batches": 1000, "at_most": 0.1, "bias_lr": 0.1, "momentum": 0.8},
        "ema": {"decay": 0.9999, "ramp": 2000, "at_most": 0.05},
        "loss": {"box": box, "objectness": objectness, "classification": classification},
    }


_RECIPE_PRESETS = {"p5": _recipe_preset(0.1, (0.05, 0.7, 0.3)), "tiny": _recipe_preset(0.01, (0.05, 1.0, 0.5))}


def load(path: Path | str, overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment file, follow its `extends`, apply `key.path=value` overrides, and validate.

    Raises UsageError, with every mistake found, each with its place and what would be right.
    """
    return build(_read_with_parents(Path(path), seen=()), changes_of(overrides), source=str(path))


def changes_of(overrides: Iterable[str]) -> dict[str, Any]:
    """Return `key.path=value` texts as values by dotted path. Raises UsageError."""
    return dict(_split_override(text) for text in overrides)


def build(
    values: Mapping[str, Any], changes: Mapping[str, Any], source: str, changed_by: str = "the command line"
) -> Experiment:
    """Return the experiment of nested `values`, from `source`, with `changes` by dotted path, from `changed_by`; both
    are named in errors."""
    known = list(paths(Experiment))
    for path in changes:
        if path not in known:
            raise UsageError(_unknown(path, known, changed_by))
    merged = dict(values)
    for path, value in changes.items():
        merged = merge(merged, nest(path, value))
    for path, _ in _flatten(merged):
        if path not in known:
            raise UsageError(_unknown(path, known, source))
    try:
        return Experiment.model_validate(_expand_presets(merged))
    except ValidationError as error:
        told = (
            _in_words(problem, changed_by if _path_of(problem) in changes else source) for problem in error.errors()
        )
        raise UsageError("\n".join(told)) from None


def with_absolute_paths(experiment: Experiment) -> Experiment:
    """Return the experiment with its paths absolute, because workers change directory."""
    folders = {
        "path": str(Path(experiment.data.path).resolve()),
        "also": [str(Path(folder).resolve()) for folder in experiment.data.also],
    }
    data = experiment.data.model_copy(update=folders)
    start = experiment.recipe.start and str(Path(experiment.recipe.start).resolve())
    recipe = experiment.recipe.model_copy(update={"start": start})
    return experiment.model_copy(update={"data": data, "recipe": recipe})


def nest(path: str, value: Any) -> dict[str, Any]:
    """Return {"a": {"b": value}} for "a.b"."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over`, level by level."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name or dotted path that was most likely meant."""

    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, name, candidate).ratio()
        last = difflib.SequenceMatcher(None, name.split(".")[-1], candidate.split(".")[-1]).ratio()
        return whole + last

    return max(known, key=likeness)


def _read_with_parents(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise UsageError(f"{path} extends itself, by way of {' -> '.join(p.name for p in seen)}.")
    content = yaml_file.read(path)
    parent = content.pop("extends", None)
    if parent is None:
        return content
    return merge(_read_with_parents(path.parent / str(parent), (*seen, path.resolve())), content)


def _split_override(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise UsageError(f"Can't read the override {text!r}: write key.path=value, such as recipe.epochs=10.")
    return path, yaml_file.value(value, path)


def _expand_presets(values: dict[str, Any]) -> dict[str, Any]:
    """Put the values of the named presets below the given ones. An unknown preset is left to the schema."""

    def section(of: Any, name: str) -> Mapping[str, Any]:
        found = of.get(name, {})
        return found if isinstance(found, Mapping) else {}

    recipe = section(values, "recipe").get("preset", "p5")
    named = section(section(values, "data"), "augment").get("preset")
    augment = named or (recipe if recipe in _RECIPE_PRESETS else "p5")
    below = {
        "recipe": _RECIPE_PRESETS.get(str(recipe), _RECIPE_PRESETS["p5"]),
        "data": {"augment": _AUGMENT_PRESETS.get(str(augment), _AUGMENT_PRESETS["p5"]) | {"preset": augment}},
    }
    return merge(below, values)


def paths(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from paths(field.annotation, f"{prefix}{name}.")


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _unknown(path: str, known: list[str], source: str) -> str:
    return f"{path} is unknown (in {source}). Did you mean {nearest(path, known)}?"


def _path_of(problem: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in problem["loc"])


def _in_words(problem: Mapping[str, Any], source: str) -> str:
    where = _path_of(problem)
    if problem["type"] == "extra_forbidden":
        return _unknown(where, list(paths(Experiment)), source)
    if problem["type"] == "missing":
        return f"{where} is missing in {source}: add it."
    if problem["type"] == "model_type":
        return f"{where} can't be {problem['input']!r} (in {source}): it should be a group of keys with values."
    if problem["type"] == "string_pattern_mismatch":
        return f"{where} can't be {problem['input']!r} (in {source}): take letters, digits, dots, dashes, underscores."
    told = problem["msg"].replace("Input should be", "it should be")
    return f"{where} can't be {problem['input']!r} (in {source}): {told}."
