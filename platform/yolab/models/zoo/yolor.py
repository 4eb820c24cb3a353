"""The baselines of CSP blocks (paper, Tables 1 and 5): YOLOR-CSP and YOLOv4-CSP, the YOLOR family for 1280 px, and
R50-CSP and X50-CSP."""

from dataclasses import replace

from yolab.experiment import Scale
from yolab.models.blueprint import (
    Blueprint,
    Conv,
    Csp,
    Residual,
    ResidualChain,
    SpaceToDepth,
    SppCspc,
    Stem,
    node,
    scaled,
)
from yolab.models.zoo import anchors
from yolab.models.zoo.neck import path_aggregation
from yolab.models.zoo.p6 import with_down_c

_PLAIN = Residual(shortcut=False)
_RES = Residual(shape="res", expansion=0.5)
_RESX = Residual(shape="res", groups=32)
_WIDTHS = {3: 128, 4: 256, 5: 512}
CSP_DARKNET = (  # stages 2 to 5 of CSPDarknet53
    node("down2", Conv(128, 3, 2)),
    node("stage2", Csp(128, 2, "C")),
    node("down3", Conv(256, 3, 2)),
    node("stage3", Csp(256, 8, "C")),
    node("down4", Conv(512, 3, 2)),
    node("stage4", Csp(512, 8, "C")),
    node("down5", Conv(1024, 3, 2)),
    node("stage5", Csp(1024, 4, "C")),
)
_OUTPUTS = ("out3", "out4", "out5")


def _neck(unit: Residual) -> tuple:
    return path_aggregation(
        {4: 256, 3: 128},
        lambda level: Csp(_WIDTHS[level], 2, "B", unit),
        lambda level: Conv(_WIDTHS[level], 3, 2),
        lambda level: Conv(2 * _WIDTHS[level], 3),
    )


def _resnet(name: str, unit: Residual) -> Blueprint:
    return Blueprint(
        name=name,
        nodes=(
            node("stem", Stem(128)),
            node("stage2", Csp(128, 3, "C", unit)),
            node("down3", Conv(256, 3, 2)),
            node("stage3", Csp(256, 4, "C", unit)),
            node("down4", Conv(512, 3, 2)),
            node("stage4", Csp(512, 6, "C", unit)),
            node("down5", Conv(1024, 3, 2)),
            node("stage5", Csp(1024, 3, "C", unit)),
            node("spp", SppCspc(512)),
            *_neck(unit),
        ),
        outputs=_OUTPUTS,
        anchors=anchors.P5,
    )


def _p6(name: str, backbone: tuple[int, ...], neck: tuple[int, ...], repeats: tuple[int, ...]) -> Blueprint:
    """Return a model of four levels: widths of stages 2 to 6 and of the neck's levels 3 to 6, repeats of the stages."""
    widths = dict(zip(range(3, 7), neck))
    return Blueprint(
        name=name,
        image_size=1280,
        nodes=(
            node("space_to_depth", SpaceToDepth()),
            node("stem", Conv(64, 3)),
            *(
                part
                for level, (out, repeat) in enumerate(zip(backbone, repeats), start=2)
                for part in (node(f"down{level}", Conv(out, 3, 2)), node(f"stage{level}", Csp(out, repeat)))
            ),
            node("spp", SppCspc(widths[6])),
            *path_aggregation(
                {level: widths[level] for level in (5, 4, 3)},
                lambda level: Csp(widths[level], 3, "B", _PLAIN),
                lambda level: Conv(widths[level], 3, 2),
                lambda level: Conv(2 * widths[level], 3),
            ),
        ),
        outputs=(*_OUTPUTS, "out6"),
        anchors=anchors.P6,
    )


YOLOR_CSP = Blueprint(
    name="yolor-csp",
    nodes=(
        node("stem", Conv(32, 3)),
        node("down1", Conv(64, 3, 2)),
        node("stage1", ResidualChain(64, 1)),
        *CSP_DARKNET,
        node("spp", SppCspc(512)),
        *_neck(_PLAIN),
    ),
    outputs=_OUTPUTS,
    anchors=anchors.P5,
)
YOLOR_CSP_X = replace(scaled(YOLOR_CSP, Scale(depth=1.33, width=1.25)), name="yolor-csp-x")
YOLOV4_CSP = replace(YOLOR_CSP, name="yolov4-csp", implicit=False)
R50_CSP = _resnet("r50-csp", _RES)
X50_CSP = _resnet("x50-csp", _RESX)

_WIDE, _WIDE_NECK = (128, 256, 512, 768, 1024), (128, 256, 384, 512)
YOLOR_P6 = _p6("yolor-p6", (128, 256, 384, 512, 640), (128, 192, 256, 320), (3, 7, 7, 3, 3))
YOLOR_W6 = _p6("yolor-w6", _WIDE, _WIDE_NECK, (3, 7, 7, 3, 3))
YOLOR_E6 = replace(scaled(with_down_c(YOLOR_W6), Scale(width=1.25)), name="yolor-e6")
YOLOR_D6 = scaled(with_down_c(_p6("yolor-d6", _WIDE, _WIDE_NECK, (3, 15, 15, 7, 7))), Scale(width=1.25))
