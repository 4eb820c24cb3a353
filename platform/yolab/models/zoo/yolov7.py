"""YOLOv7 (paper, Table 1 and Figure A1), and YOLOv7-X by compound scaling (section 5.4.1, Table 3)."""

from collections.abc import Callable
from dataclasses import replace

from yolab.experiment import Scale
from yolab.models.blueprint import Block, Blueprint, Conv, Elan, PoolConvDown, RepConv, SppCspc, node, scaled
from yolab.models.zoo import anchors
from yolab.models.zoo.neck import outputs, path_aggregation

_WIDTHS = {3: 128, 4: 256, 5: 512}


def every_second(hidden: int, out: int) -> Elan:
    """The computational block of the backbones."""
    return Elan(out=out, hidden=hidden, chain_hidden=hidden, chain=4)


def all_of_half_width(hidden: int, out: int) -> Elan:
    """The computational block of YOLOv7's neck and of those for 1280 px."""
    return Elan(out=out, hidden=hidden, chain_hidden=hidden // 2, chain=4, take="all")


def _blueprint(name: str, neck: Callable[[int, int], Elan], out: Callable[[int], Block]) -> Blueprint:
    return Blueprint(
        name=name,
        nodes=(
            node("stem", Conv(32, 3)),
            node("down1", Conv(64, 3, 2)),
            node("stem2", Conv(64, 3)),
            node("down2", Conv(128, 3, 2)),
            node("stage2", every_second(64, 256)),
            node("down3", PoolConvDown(128)),
            node("stage3", every_second(128, 512)),
            node("down4", PoolConvDown(256)),
            node("stage4", every_second(256, 1024)),
            node("down5", PoolConvDown(512)),
            node("stage5", every_second(256, 1024)),
            node("spp", SppCspc(512)),
            *path_aggregation(
                {4: 256, 3: 128},
                lambda level: neck(_WIDTHS[level], _WIDTHS[level]),
                lambda level: PoolConvDown(_WIDTHS[level - 1]),
            ),
            *outputs(lambda level: out(2 * _WIDTHS[level]), range(3, 6)),
        ),
        outputs=("out3", "out4", "out5"),
        anchors=anchors.P5,
    )


YOLOV7 = _blueprint("yolov7", all_of_half_width, RepConv)
YOLOV7X_LIGHT = _blueprint("yolov7x-light", every_second, lambda out: Conv(out, 3))
YOLOV7X = replace(scaled(YOLOV7X_LIGHT, Scale(depth=1.5, width=1.25)), name="yolov7x")
