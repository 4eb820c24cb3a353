"""What an experiment can say, with its limits: every value of it can be overridden and searched by its dotted path."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from yolab.experiment.named import check_row

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
ImageSize = Annotated[int, Field(gt=0, le=8192, description="pixels of the long side")]


_ENOUGH_IMAGES = 16  # for statistics of batch norm
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

    policy: Annotated[str, AfterValidator(partial(check_row, "yolab.assignment.policies:POLICIES"))] = Field(
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
    extra: list[str] = Field([], description="augmentations that were added, with their probability: [fog=0.1]")

    @field_validator("extra")
    @classmethod
    def _rows_with_shares(cls, extra: list[str]) -> list[str]:
        for text in extra:
            name, _, share = text.partition("=")
            if name in cls.model_fields:
                raise PydanticCustomError("own_setting", f"Input should leave out {name}: it is data.augment.{name}")
            check_row("yolab.data.augment:AUGMENTATIONS", name)
            if not re.fullmatch(r"0|1|0?\.\d+|[01]\.0*", share):
                raise PydanticCustomError("share", "Input should have a probability after each name: [fog=0.1]")
        return extra

    def shares(self) -> dict[str, float]:
        """Return the probability of each augmentation of a drawn sample, in the order in which chance decides."""
        own = {"flip": self.flip, "vertical_flip": self.vertical_flip, "paste_in": self.paste_in}
        return own | {name: float(share) for name, _, share in (text.partition("=") for text in self.extra)}


class Data(Section):
    """A folder in COCO layout: `annotations/instances_<split>.json`, images in `<split>/`; or the s3://… of one that
    `yolab data pack` has put there, of which each machine makes itself a copy."""

    path: str = "data/coco"
    also: list[str] = Field([], description="folders whose training split is learned from, too")
    classes: list[str] = Field(
        [], description="changes: [car=vehicle, truck=vehicle, person=] merges two and drops one"
    )
    repeat_threshold: Share = Field(0.0, description="classes in a smaller share of the images are repeated (LVIS)")
    train: str = "train2017"
    val: str = "val2017"
    image_size: ImageSize = 640
    on_error: Literal["fail", "skip"] = "fail"
    augment: Augment


class Optimiser(Section):
    name: Annotated[str, AfterValidator(partial(check_row, "yolab.training.optimiser:OPTIMISERS"))] = Field(
        "sgd", description="sgd, or adamw, which wants a lower lr and warmup.bias_lr, about 0.001 and 0"
    )
    lr: Positive
    lr_final: Share = Field(description="the last learning rate as a factor of the first")
    momentum: Share = Field(description="of sgd; the beta1 of adamw, whose beta2 is 0.999")
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
    start: str | None = Field(None, description="weights to start from: a .safetensors file of yolab's, or its s3://")
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


class WorkerCount(Section):
    """How many workers a run has: a number, or {min: 2, max: 8} for as many as there is room for."""

    min: int = Field(ge=1)
    max: int = Field(ge=1)

    @model_validator(mode="before")
    @classmethod
    def _of_number(cls, given: Any) -> Any:
        if isinstance(given, Mapping | WorkerCount):
            return given
        if type(given) is not int or given < 1:
            raise PydanticCustomError(
                "workers", "Input should be a whole number from 1 on, or such as {min: 2, max: 8}"
            )
        return {"min": given, "max": given}

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise PydanticCustomError("workers", "Input should have a min that is at most its max")
        return self

    @model_serializer
    def _as_number(self) -> Any:
        return self.min if self.min == self.max else {"min": self.min, "max": self.max}


def _whole_gpus(given: Any) -> Any:
    if isinstance(given, float) and not given.is_integer():
        raise PydanticCustomError(
            "gpus", "Input should be a whole number: NCCL joins no workers that share a GPU. 0 computes on the CPU"
        )
    return given


class Compute(Section):
    """What a run is given, and how its batches are cut for that."""

    workers: WorkerCount = Field(
        WorkerCount(min=1, max=1), description="{min: 2, max: 8}: as many as there is room for, with shards"
    )
    shards: int | None = Field(
        None, ge=1, description="parts of each batch, whose result is the same by any workers; None: the workers' own"
    )
    batch_norm: Literal["auto", "worker", "shard", "synchronised"] = Field(
        "auto",
        description="whose images are normalised together; auto: the shard's with shards, else the worker's if it has "
        "at least 16 of a batch, else all",
    )
    gpus_per_worker: Annotated[int, BeforeValidator(_whole_gpus)] = Field(0, ge=0)
    cpus_per_worker: int = Field(1, ge=1)
    loader_processes: int = Field(0, ge=0)
    image_cache_gib: float = Field(1.0, ge=0, description="of decoded images, kept by each process that loads them")
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    hang_minutes: float = Field(15.0, gt=0, description="until workers that wait for one take it for lost")
    checkpoint_minutes: float = Field(10.0, gt=0, description="at most, between two, beside one after each epoch")

    @property
    def devices(self) -> int:
        """What a run occupies at most and is paid for: GPUs, or CPU cores where it uses none."""
        return self.workers.max * (self.gpus_per_worker or self.cpus_per_worker)


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

    @property
    def batch_norm(self) -> str:
        """What `compute.batch_norm` stands for."""
        compute = self.compute
        if compute.batch_norm != "auto":
            return compute.batch_norm
        if compute.shards:
            return "shard"
        return "worker" if self.recipe.batch >= _ENOUGH_IMAGES * compute.workers.max else "synchronised"

    def shards(self, workers: int) -> int:
        """Return how many parts each batch is cut into for so many workers."""
        return self.compute.shards or workers

    def digest(self, data_digest: str, start_digest: str | None = None) -> str:
        """Return 12 hex digits that are equal for equal work: all that changes the result, with the data and the
        weights to start from by content instead of by path, without names, tracking and resources."""
        described = self.model_dump(exclude={"name": True, "tracking": True, "data": {"path", "also"}})
        described["compute"] = {"precision": self.compute.precision}
        shards = self.shards(self.compute.workers.max)
        if shards > 1 and self.batch_norm != "synchronised":  # which equals one worker's, but for rounding
            described["compute"]["shards"] = shards
        described["data"]["content"] = data_digest
        if not self.data.augment.extra:  # digests are older than it
            del described["data"]["augment"]["extra"]
        described["recipe"]["start"] = start_digest
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]

    def in_precision(self, name: str) -> "Experiment":
        """Return the experiment with the precision that `auto` stands for where it runs; another one stays."""
        if self.compute.precision != "auto":
            return self
        return self.model_copy(update={"compute": self.compute.model_copy(update={"precision": name})})

    def flat(self) -> dict[str, Any]:
        """Return every value by its dotted path, as MLflow's parameters and the search spaces name it."""
        return dict(flatten(self.model_dump()))


def paths(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every value and group of a section."""
    for name, field in section.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from paths(field.annotation, f"{prefix}{name}.")


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of nested ones by its dotted path."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
