"""YOLOv7-tiny (paper, Table 1): for edge devices, LeakyReLU; and its SiLU form of Table 2."""

from dataclasses import replace

from yolab.models.blueprint import Blueprint, Conv, Elan, MaxPool, TinySpp, node
from yolab.models.zoo import anchors
from yolab.models.zoo.neck import outputs, path_aggregation


def _elan(hidden: int) -> Elan:
    return Elan(out=2 * hidden, hidden=hidden, chain_hidden=hidden, chain=2, take="all")


YOLOV7_TINY = Blueprint(
    name="yolov7-tiny",
    activation="leaky_relu",
    nodes=(
        node("stem", Conv(32, 3, 2)),
        node("down2", Conv(64, 3, 2)),
        node("stage2", _elan(32)),
        node("down3", MaxPool()),
        node("stage3", _elan(64)),
        node("down4", MaxPool()),
        node("stage4", _elan(128)),
        node("down5", MaxPool()),
        node("stage5", _elan(256)),
        node("spp", TinySpp(256)),
        *path_aggregation(
            {4: 128, 3: 64},
            lambda level: _elan({3: 32, 4: 64, 5: 128}[level]),
            lambda level: Conv({4: 128, 5: 256}[level], 3, 2),
        ),
        *outputs(lambda level: Conv({3: 128, 4: 256, 5: 512}[level], 3), range(3, 6)),
    ),
    outputs=("out3", "out4", "out5"),
    anchors=anchors.TINY,
)

YOLOV7_TINY_SILU = replace(YOLOV7_TINY, name="yolov7-tiny-silu", activation="silu")
