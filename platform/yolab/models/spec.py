"""What a detector is, as its weights, its ONNX file and the registry say it."""

import json
from dataclasses import asdict, dataclass, replace

from yolab import experiment
from yolab.assignment import policies
from yolab.models.blueprint import Anchors, Blueprint, without_auxiliary
from yolab.models.detector import Detector, blueprint_of
from yolab.models.fold import fold
from yolab.storage.document import FORMAT, check_version, stamped

_FORMAT = 1  # of the JSON; files from before there were versions have the fields of the first


@dataclass(frozen=True)
class DetectorSpec:
    """What is needed to build and use a detector: `names` of its classes in order, the input's long side in pixels,
    whether the graph is folded, whether it has its auxiliary branch; `anchors` in pixels, None for the model's own."""

    model: experiment.Model
    names: tuple[str, ...]
    image_size: int
    folded: bool = False
    auxiliary: bool = False
    implicit: bool = True
    anchors: Anchors | None = None

    @classmethod
    def of(cls, run: experiment.Experiment, names: tuple[str, ...]) -> "DetectorSpec":
        """Return what an experiment trains for these classes."""
        return cls(run.model, names, run.data.image_size, auxiliary=policies.needs_auxiliary(run.assigner))

    def to_json(self) -> str:
        """Return it as a file of weights says it, with the version of this form."""
        return json.dumps(stamped(asdict(self) | {"model": self.model.model_dump()}, _FORMAT))

    @classmethod
    def from_json(cls, text: str, where: str) -> "DetectorSpec":
        """Return what the file at `where` says of its detector. Raises UsageError if a newer yolab wrote it."""
        values = json.loads(text)
        check_version(values.pop(FORMAT, None), _FORMAT, where)
        values["model"] = experiment.Model.model_validate(values["model"])
        values["names"] = tuple(values["names"])
        if values["anchors"] is not None:
            values["anchors"] = tuple(tuple((w, h) for w, h in level) for level in values["anchors"])
        return cls(**values)

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
