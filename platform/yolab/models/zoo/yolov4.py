"""YOLOv4 and YOLOv4-tiny as their own papers describe them, with the activations of the other models here; and
YOLOR-u5, which has the architecture of YOLOv5-L (r6.1)."""

from yolab.models.blueprint import (
    Blueprint,
    Concat,
    Conv,
    Csp,
    HalfOsa,
    MaxPool,
    Node,
    Residual,
    ResidualChain,
    Spp,
    Upsample,
    node,
)
from yolab.models.zoo import anchors
from yolab.models.zoo.yolor import CSP_DARKNET

_OUTPUTS = ("out3", "out4", "out5")
_WIDENING = Residual("reversed dark", expansion=2, shortcut=False)
_PLAIN = Residual(shortcut=False)


def _chain(name: str, out: int, *inputs: str) -> tuple[Node, ...]:
    """Return the five convolutions after each concatenation of YOLOv4's neck: 1×1, then twice 3×3 and 1×1."""
    return node(f"{name}_entry", Conv(out), *inputs), node(name, ResidualChain(out, 2, _WIDENING))


YOLOV4 = Blueprint(
    name="yolov4",
    nodes=(
        node("stem", Conv(32, 3)),
        node("down1", Conv(64, 3, 2)),
        node("stage1_bypass", Conv(64)),
        node("stage1_entry", Conv(64), "down1"),
        node("stage1_units", ResidualChain(64, 1)),
        node("stage1_after", Conv(64)),
        node("stage1_merge", Concat(), "stage1_after", "stage1_bypass"),
        node("stage1", Conv(64)),
        *CSP_DARKNET,
        node("before_pyramid_entry", Conv(512)),
        node("before_pyramid", Conv(1024, 3)),
        node("pyramid", Spp(512)),
        node("after_pyramid", Conv(1024, 3)),
        node("top5", Conv(512)),
        node("reduce5", Conv(256)),
        node("up5", Upsample()),
        node("lateral4", Conv(256), "stage4"),
        node("merge4", Concat(), "lateral4", "up5"),
        *_chain("top_down4", 256),
        node("reduce4", Conv(128)),
        node("up4", Upsample()),
        node("lateral3", Conv(128), "stage3"),
        node("merge3", Concat(), "lateral3", "up4"),
        *_chain("top_down3", 128),
        node("out3", Conv(256, 3)),
        node("neck_down4", Conv(256, 3, 2), "top_down3"),
        node("neck_merge4", Concat(), "neck_down4", "top_down4"),
        *_chain("bottom_up4", 256),
        node("out4", Conv(512, 3)),
        node("neck_down5", Conv(512, 3, 2), "bottom_up4"),
        node("neck_merge5", Concat(), "neck_down5", "top5"),
        *_chain("bottom_up5", 512),
        node("out5", Conv(1024, 3)),
    ),
    outputs=_OUTPUTS,
    anchors=anchors.P5,
    implicit=False,
)

YOLOR_U5 = Blueprint(
    name="yolor-u5",
    nodes=(
        node("stem", Conv(64, 6, 2)),
        node("down2", Conv(128, 3, 2)),
        node("stage2", Csp(128, 3)),
        node("down3", Conv(256, 3, 2)),
        node("stage3", Csp(256, 6)),
        node("down4", Conv(512, 3, 2)),
        node("stage4", Csp(512, 9)),
        node("down5", Conv(1024, 3, 2)),
        node("stage5", Csp(1024, 3)),
        node("spp", Spp(1024)),
        node("reduce5", Conv(512)),
        node("up5", Upsample()),
        node("merge4", Concat(), "up5", "stage4"),
        node("top_down4", Csp(512, 3, unit=_PLAIN)),
        node("reduce4", Conv(256)),
        node("up4", Upsample()),
        node("merge3", Concat(), "up4", "stage3"),
        node("out3", Csp(256, 3, unit=_PLAIN)),
        node("neck_down4", Conv(256, 3, 2)),
        node("neck_merge4", Concat(), "neck_down4", "reduce4"),
        node("out4", Csp(512, 3, unit=_PLAIN)),
        node("neck_down5", Conv(512, 3, 2)),
        node("neck_merge5", Concat(), "neck_down5", "reduce5"),
        node("out5", Csp(1024, 3, unit=_PLAIN)),
    ),
    outputs=_OUTPUTS,
    anchors=anchors.TINY,
    implicit=False,
)

_TINY_BACKBONE = (
    node("stem", Conv(32, 3, 2)),
    node("down2", Conv(64, 3, 2)),
    *(
        part
        for level, out in ((2, 64), (3, 128), (4, 256))
        for part in (
            node(f"entry{level}", Conv(out, 3)),
            node(f"stage{level}", HalfOsa(out)),
            node(f"joined{level}", Concat(), f"entry{level}", f"stage{level}"),
            node(f"down{level + 1}", MaxPool()),
        )
    ),
    node("stage5", Conv(512, 3)),
    node("reduce5", Conv(256)),
)

YOLOV4_TINY = Blueprint(
    name="yolov4-tiny",
    activation="leaky_relu",
    nodes=(
        *_TINY_BACKBONE,
        node("out5", Conv(512, 3)),
        node("lateral5", Conv(128), "reduce5"),
        node("up5", Upsample()),
        node("neck_merge4", Concat(), "up5", "stage4"),
        node("out4", Conv(256, 3)),
    ),
    outputs=("out4", "out5"),
    anchors=anchors.TWO_LEVELS,
    implicit=False,
    image_size=416,
)

# Three levels. What exactly was measured under this name is described nowhere: this is the backbone of YOLOv4-tiny with
# pyramid pooling and a neck of single 3×3, of the published size and cost.
YOLOV4_TINY_3L = Blueprint(
    name="yolov4-tiny-3l",
    activation="leaky_relu",
    nodes=(
        *_TINY_BACKBONE[:-1],
        node("spp", Spp(256)),
        node("reduce5", Conv(256)),
        node("up5", Upsample()),
        node("lateral4", Conv(256), "stage4"),
        node("merge4", Concat(), "lateral4", "up5"),
        node("top_down4", Conv(128, 3)),
        node("reduce4", Conv(64)),
        node("up4", Upsample()),
        node("lateral3", Conv(64), "stage3"),
        node("merge3", Concat(), "lateral3", "up4"),
        node("out3", Conv(64, 3)),
        node("neck_down4", Conv(128, 3, 2)),
        node("neck_merge4", Concat(), "neck_down4", "top_down4"),
        node("out4", Conv(256, 3)),
        node("neck_down5", Conv(256, 3, 2)),
        node("neck_merge5", Concat(), "neck_down5", "spp"),
        node("out5", Conv(512, 3)),
    ),
    outputs=_OUTPUTS,
    anchors=anchors.P5,
    implicit=False,
    image_size=320,
)
