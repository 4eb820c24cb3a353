"""Suppression as a part of an ONNX graph, with the settings and the answers of `suppression.suppress`."""

from typing import Any

from onnx import GraphProto, TensorProto, helper

from yolab.models.suppression import IOU, MOST, SHOWN_CONFIDENCE

_FLOAT, _INTEGER = TensorProto.FLOAT, TensorProto.INT64


def append_suppression(graph: GraphProto) -> None:
    """Add to a graph with `predictions` the output `detections`, and the inputs `confidence` and `iou`.

    All candidates of a class are compared, so there is no need for a limit to them before.
    """
    build = _Nodes(graph)
    for name, default in (("confidence", SHOWN_CONFIDENCE), ("iou", IOU)):
        build.constant(name, [default], _FLOAT)
        graph.input.append(helper.make_tensor_value_info(name, _FLOAT, [1]))
    boxes = build.columns("predictions", 0, 4)
    objectness, classes = build.columns("predictions", 4, 5), build.columns("predictions", 5, 2**31)
    scores = build("Transpose", build("Mul", objectness, classes), perm=[0, 2, 1])
    most = build.constant("most", [MOST], _INTEGER)  # of a class; the best of an image are among them
    selected = build("NonMaxSuppression", boxes, scores, most, "iou", "confidence", center_point_box=1)
    kept = _best_of_each_image(build, selected, build("GatherND", scores, selected), most)

    image, label = build.columns(kept, 0, 1), build.columns(kept, 1, 2)
    sides = build("GatherND", boxes, build("Concat", image, build.columns(kept, 2, 3), axis=1))
    centre = build.columns(sides, 0, 2)
    reach = build("Mul", build.columns(sides, 2, 4), build.constant("half", [0.5], _FLOAT))
    score = build("Unsqueeze", build("GatherND", scores, kept), build.last_axis)
    numbers = [build("Cast", each, to=_FLOAT) for each in (image, label)]
    corners = [build("Sub", centre, reach), build("Add", centre, reach)]
    build("Concat", numbers[0], *corners, score, numbers[1], axis=1, output="detections")
    graph.output.append(helper.make_tensor_value_info("detections", _FLOAT, ["found", 7]))


def _best_of_each_image(build: "_Nodes", selected: str, scores: str, most: str) -> str:
    """Return the rows of `selected` (found, 3: image, class, prediction), with `scores` (found,), by image and falling
    score, at most so many of an image."""
    found = build("Shape", scores)
    _, by_score = build.two("TopK", scores, found)
    image = build("Squeeze", build.columns(build("Gather", selected, by_score), 0, 1), build.last_axis)
    zero, one = build.constant("zero", [0], _INTEGER), build.constant("one", [1], _INTEGER)
    ones = build("Expand", one, found)
    number = build("CumSum", ones, zero, exclusive=1)  # 0, 1, 2, …
    _, by_image = build.two("TopK", build("Add", build("Mul", image, found), number), found, largest=0)
    image, order = build("Gather", image, by_image), build("Gather", by_score, by_image)

    images = build("Shape", "predictions", end=1)
    counts = build("ScatterElements", build("Expand", zero, images), image, ones, reduction="add")
    first = build("CumSum", counts, zero, exclusive=1)  # where each image's rows begin
    place = build("Sub", number, build("Gather", first, image))
    return build("Gather", selected, build("Compress", order, build("Less", place, most)))


class _Nodes:
    """Adds nodes to a graph; each call gives the name of what the node gives."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.last_axis = self.constant("last_axis", [-1], _INTEGER)

    def __call__(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or self._unused(kind)
        self.graph.node.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def two(self, kind: str, *inputs: str, **attributes: Any) -> tuple[str, str]:
        """Add a node that gives two tensors."""
        first, second = (f"{self._unused(kind)}_{what}" for what in ("values", "places"))
        self.graph.node.append(helper.make_node(kind, inputs, [first, second], **attributes))
        return first, second

    def constant(self, name: str, values: list, kind: int) -> str:
        """Add numbers; the names of the graph's inputs are kept as they are."""
        name = name if name in ("confidence", "iou") else f"suppression_{name}"
        self.graph.initializer.append(helper.make_tensor(name, kind, [len(values)], values))
        return name

    def columns(self, source: str, start: int, end: int) -> str:
        """Add a cut of the last axis."""
        name = self._unused("Slice")
        bounds = [self.constant(f"{name}_{what}", [at], _INTEGER) for what, at in (("from", start), ("to", end))]
        return self("Slice", source, *bounds, self.last_axis)

    def _unused(self, kind: str) -> str:
        return f"suppression_{len(self.graph.node)}_{kind}"
