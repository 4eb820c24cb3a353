"""What a detector is, as its weights, its ONNX file and the registry say it."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from yolab import experiment
from yolab.assignment import policies
from yolab.errors import UsageError
from yolab.experiment.messages import in_words
from yolab.experiment.schema import ImageSize, Positive
from yolab.models.blueprint import Blueprint, without_auxiliary
from yolab.models.detector import Detector, blueprint_of
from yolab.models.fold import fold
from yolab.storage.document import FORMAT, check_version, stamped

_FORMAT = 1  # of the JSON; files from before there were versions have the fields of the first


@dataclass(frozen=True)
class DetectorSpec:
    """What is needed to build and use a detector: `names` of its classes in order, the input's long side in pixels,
    whether the graph is folded, whether it has its auxiliary branch; `anchors` in pixels, None for the model's own."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: experiment.Model
    names: Annotated[tuple[str, ...], Field(min_length=1)]
    image_size: ImageSize
    folded: bool = False
    auxiliary: bool = False
    implicit: bool = True
    anchors: tuple[tuple[tuple[Positive, Positive], ...], ...] | None = None

    @classmethod
    def of(cls, run: experiment.Experiment, names: tuple[str, ...]) -> "DetectorSpec":
        """Return what an experiment trains for these classes."""
        return cls(run.model, names, run.data.image_size, auxiliary=policies.needs_auxiliary(run.assigner))

    def to_json(self) -> str:
        """Return it as a file of weights says it, with the version of this form."""
        return json.dumps(stamped(asdict(self) | {"model": self.model.model_dump()}, _FORMAT))

    @classmethod
    def from_json(cls, text: str, where: str) -> "DetectorSpec":
        """Return what the file at `where` says of its detector. Raises UsageError if that can't be a detector, or if a
        newer yolab wrote it."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise UsageError(f"What {where} says of its model is no JSON mapping: get the file again.")
        check_version(values.pop(FORMAT, None), _FORMAT, where)
        try:
            spec = TypeAdapter(cls).validate_json(json.dumps(values))
        except ValidationError as error:
            raise UsageError(in_words(error.errors()[0], f"what {where} says of its model", [*values])) from None
        spec._require_possible(where)
        return spec

    def _require_possible(self, where: str) -> None:
        """Raise UsageError unless there is such a model, with as many anchors."""
        try:
            own = blueprint_of(self.model).anchors
        except UsageError as error:
            raise UsageError(f"{where} describes a model that can't be built: {error}") from None
        if self.anchors is not None and [*map(len, self.anchors)] != [*map(len, own)]:
            wanted = f"{len(own[0])} at each of {len(own)} levels"
            raise UsageError(f"{where} describes {self.model.name} with other anchors than {wanted}.")

    def blueprint(self) -> Blueprint:
        blueprint = blueprint_of(self.model)
        if not self.auxiliary:
            blueprint = without_auxiliary(blueprint)
        implicit = blueprint.implicit and self.implicit
        return replace(blueprint, implicit=implicit, anchors=self.anchors or blueprint.anchors)

    def build(self) -> Detector:
        """Return the detector with fresh weights."""
        detector = Detector(self.blueprint(), len(self.names))
        return fold(detector) if self.folded else detector
