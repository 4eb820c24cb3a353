"""A detector as an ONNX file, and that file as a detector."""

import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from yolab.errors import UsageError, YolabError
from yolab.models.detector import Detector
from yolab.models.fold import fold
from yolab.models.weights import DetectorSpec

if TYPE_CHECKING:
    from onnx import GraphProto

_OPSET = 20
_MOST_A_CLASS = 300
_MOST_ERROR = 1e-3


class _Decoded(nn.Module):
    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        return self.detector.predict(images)


def export(detector: Detector, about: DetectorSpec, path: Path, lineage: Mapping[str, str], nms: bool) -> float:
    """Write the folded detector as ONNX and return the largest relative difference of its answers from torch's.

    Input `images` (batch, 3, rows, columns) float32, RGB in 0..1, sides multiples of the stride, all sizes free. Output
    `predictions` as from `Detector.decode`; with `nms` also `detections` (n, 7): number of the image, x1 y1 x2 y2 in
    pixels of the input, score, class; inputs `confidence` and `iou`, (1,) each, then have defaults of 0.25 and 0.45.
    The file's metadata says names, stride, image size and lineage. Raises YolabError if the answers differ.
    """
    import onnx

    folded = _Decoded(fold(detector)).eval()
    stride = max(detector.strides)
    batch, rows, columns = (torch.export.Dim(name) for name in ("batch", "rows", "columns"))
    sides = {0: batch, 2: stride * rows, 3: stride * columns}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            folded,
            (torch.rand(2, 3, 4 * stride, 6 * stride),),
            input_names=["images"],
            output_names=["predictions"],
            dynamic_shapes={"images": sides},
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    if nms:
        _append_nms(model.graph)
    described = {
        "yolab": about.to_json(),
        "names": json.dumps(about.names),
        "stride": str(stride),
        "image_size": str(about.image_size),
        **{f"lineage.{key}": value for key, value in lineage.items()},
    }
    onnx.helper.set_model_props(model, described)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    incoming = path.with_suffix(".incoming")
    try:
        onnx.save(model, incoming)
        difference = _difference(folded, OnnxDetector(incoming), about.image_size // stride * stride)
        if not difference <= _MOST_ERROR:
            raise YolabError(f"onnxruntime's answers differ from torch's by {difference:.1e}: nothing was written.")
        incoming.rename(path)
    finally:
        incoming.unlink(missing_ok=True)
    return difference


@torch.no_grad()
def _difference(folded: _Decoded, exported: "OnnxDetector", size: int) -> float:
    """Return the largest difference of the answers to one random image, relative to 1 + the answer."""
    images = torch.rand(1, 3, size, size)
    expected = folded(images)
    return ((exported.predict(images) - expected).abs() / (1 + expected.abs())).max().item()


class OnnxDetector(nn.Module):
    """A detector in an ONNX file, run by onnxruntime on the CPU, to use where a folded `Detector` is used."""

    device = torch.device("cpu")

    def __init__(self, path: Path) -> None:
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own have no common class
            raise UsageError(f"Can't read the model {path}: {' '.join(str(error).split())[:200]}") from None
        self.about = self.session.get_modelmeta().custom_metadata_map
        if "yolab" not in self.about:
            raise UsageError(f"{path} doesn't say which model it is: give a file that `yolab export` wrote.")
        self.strides = (int(self.about["stride"]),)

    def predict(self, images: Tensor) -> Tensor:
        """Return the decoded predictions, as `Detector.predict` does."""
        (predictions,) = self.session.run(["predictions"], {"images": np.ascontiguousarray(images.numpy())})
        return torch.from_numpy(predictions)


def load(path: Path) -> tuple[OnnxDetector, DetectorSpec]:
    """Return the detector of a file that `export` wrote. Raises UsageError if it isn't one."""
    if not path.exists():
        raise UsageError(f"There is no model at {path}.")
    detector = OnnxDetector(path)
    return detector, DetectorSpec.from_json(detector.about["yolab"])


def _append_nms(graph: "GraphProto") -> None:
    """Add suppression class by class after the predictions, and what gathers the boxes that are left."""
    from onnx import TensorProto, helper

    def constant(name: str, values: list, kind: int) -> str:
        graph.initializer.append(helper.make_tensor(name, kind, [len(values)], values))
        return name

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    last_axis = constant("nms_last_axis", [-1], TensorProto.INT64)

    def columns(source: str, start: int, end: int, output: str) -> str:
        bounds = [constant(f"{output}_{what}", [at], TensorProto.INT64) for what, at in (("from", start), ("to", end))]
        return add("Slice", [source, *bounds, last_axis], output)

    for name, default in (("confidence", 0.25), ("iou", 0.45)):
        constant(name, [default], TensorProto.FLOAT)
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]))
    most = constant("nms_most", [_MOST_A_CLASS], TensorProto.INT64)
    half = constant("nms_half", [0.5], TensorProto.FLOAT)

    boxes = columns("predictions", 0, 4, "nms_boxes")
    objectness = columns("predictions", 4, 5, "nms_objectness")
    classes = columns("predictions", 5, 2**31, "nms_classes")
    scores = add("Transpose", [add("Mul", [objectness, classes], "nms_scores")], "nms_by_class", perm=[0, 2, 1])
    selected = add("NonMaxSuppression", [boxes, scores, most, "iou", "confidence"], "nms_selected", center_point_box=1)

    image, label = columns(selected, 0, 1, "nms_image"), columns(selected, 1, 2, "nms_label")
    place = add("Concat", [image, columns(selected, 2, 3, "nms_row")], "nms_place", axis=1)
    kept = add("GatherND", [boxes, place], "nms_kept")
    score = add("Unsqueeze", [add("GatherND", [scores, selected], "nms_kept_scores"), last_axis], "nms_score")
    centre = columns(kept, 0, 2, "nms_centre")
    reach = add("Mul", [columns(kept, 2, 4, "nms_size"), half], "nms_reach")
    corners = [add("Sub", [centre, reach], "nms_low"), add("Add", [centre, reach], "nms_high")]
    numbers = [add("Cast", [each], f"{each}_float", to=TensorProto.FLOAT) for each in (image, label)]
    add("Concat", [numbers[0], *corners, score, numbers[1]], "detections", axis=1)
    graph.output.append(helper.make_tensor_value_info("detections", TensorProto.FLOAT, ["found", 7]))
