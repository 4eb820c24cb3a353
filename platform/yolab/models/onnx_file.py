"""A detector as an ONNX file, and that file as a detector."""

import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from yolab.data.drawing import GREY
from yolab.errors import UsageError, YolabError
from yolab.models.detector import Detector, strides_of
from yolab.models.fold import fold
from yolab.models.onnx_suppression import append_suppression
from yolab.models.spec import DetectorSpec

OPSETS = range(18, 25)  # those that torch writes and onnxruntime runs
OPSET = 20
_MOST_ERROR, _MOST_ERROR_HALF = 1e-3, 0.01


class _Decoded(nn.Module):
    """A folded detector with its decoding, which is in float32 also where the convolutions are in float16."""

    def __init__(self, detector: Detector, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        anchors = detector.anchors
        self.detector, self.dtype = detector.to(dtype), dtype
        self.detector.anchors = anchors

    def forward(self, images: Tensor) -> Tensor:
        return self.detector.predict(images.to(self.dtype))


def export(
    detector: Detector,
    about: DetectorSpec,
    path: Path,
    lineage: Mapping[str, str],
    nms: bool = False,
    *,
    opset: int = OPSET,
    half: bool = False,
    static: bool = False,
) -> float:
    """Write the folded detector as ONNX and return the largest relative difference of its answers from torch's.

    Input `images` (batch, 3, rows, columns) float32, RGB in 0..1, sides multiples of the stride, all sizes free; with
    `static` one image at a time, a square of the model's size. With `half` weights and convolutions are in float16.
    Output `predictions` as from `Detector.decode`; with `nms` also `detections` (n, 7): number of the image, x1 y1 x2
    y2 in pixels of the input, score, class, by image and falling score; inputs `confidence` and `iou`, (1,) each, then
    have the defaults of `yolab predict`, and an image has as many boxes at most.
    The file's metadata says names, stride, image size and lineage. Raises UsageError for an opset that isn't one of
    OPSETS, YolabError if the answers differ.
    """
    if opset not in OPSETS:
        raise UsageError(f"The opset can't be {opset}: take one from {OPSETS[0]} to {OPSETS[-1]}.")
    written = _Decoded(fold(detector), torch.float16 if half else torch.float32).eval()
    stride = max(detector.strides)
    side = about.image_size // stride * stride
    batch, rows, columns = (torch.export.Dim(name) for name in ("batch", "rows", "columns"))
    sides = {0: batch, 2: stride * rows, 3: stride * columns}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            written,
            (torch.rand(1, 3, side, side) if static else torch.rand(2, 3, 4 * stride, 6 * stride),),
            input_names=["images"],
            output_names=["predictions"],
            dynamic_shapes=None if static else {"images": sides},
            opset_version=opset,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    if nms:
        append_suppression(model.graph)
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
        difference = _difference(_Decoded(fold(detector)).eval(), OnnxDetector(incoming), side)
        if not difference <= (_MOST_ERROR_HALF if half else _MOST_ERROR):
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
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            described = self.session.get_modelmeta().custom_metadata_map
            takes = {each.name: each.shape for each in self.session.get_inputs()}  # those without a default
            gives = {each.name: each.shape for each in self.session.get_outputs()}
        except Exception as error:  # onnxruntime's own have no common class
            raise UsageError(f"Can't read the model {path}: {' '.join(str(error).split())[:200]}") from None
        if "yolab" not in described:
            raise UsageError(f"{path} doesn't say which model it is: give a file that `yolab export` wrote.")
        self.spec = DetectorSpec.from_json(described["yolab"], str(path))
        self.strides = (max(strides_of(self.spec.blueprint())),)
        values = 5 + len(self.spec.names)
        if list(takes) != ["images"] or len(takes["images"]) != 4 or gives.get("predictions", [])[-1:] != [values]:
            raise UsageError(
                f"The graph in {path} isn't that of the model that it describes: it should take `images` and give "
                f"`predictions` of {values} values. Give a file that `yolab export` wrote."
            )
        side = takes["images"][-1]
        self.side = side if isinstance(side, int) else None  # of a file for one image at a time, of that size

    def predict(self, images: Tensor) -> Tensor:
        """Return the decoded predictions, as `Detector.predict` does; what a static file lacks to its size is grey."""
        if self.side is None:
            return self._run(images)
        rows, columns = images.shape[2:]
        if max(rows, columns) > self.side:
            raise UsageError(
                f"The .onnx file takes images of {self.side} pixels, no larger ones: say --size {self.side}."
            )
        padded = nn.functional.pad(images, (0, self.side - columns, 0, self.side - rows), value=GREY / 255)
        return torch.cat([self._run(image[None]) for image in padded])

    def _run(self, images: Tensor) -> Tensor:
        (predictions,) = self.session.run(["predictions"], {"images": np.ascontiguousarray(images.numpy())})
        return torch.from_numpy(predictions)


def load(path: Path) -> tuple[OnnxDetector, DetectorSpec]:
    """Return the detector of a file that `export` wrote. Raises UsageError if it isn't one, or a newer yolab's."""
    if not path.exists():
        raise UsageError(f"There is no model at {path}.")
    detector = OnnxDetector(path)
    return detector, detector.spec
