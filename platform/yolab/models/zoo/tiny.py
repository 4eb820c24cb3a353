"""YOLOv7-tiny (paper, Table 1): for edge devices, LeakyReLU; and its SiLU form of Table 2."""

from dataclasses import replace

from yolab.models.blueprint import Blueprint, Concat, Conv, Elan, MaxPool, TinySpp, Upsample, node


def _elan(hidden: int, out: int) -> Elan:
    return Elan(out=out, hidden=hidden, chain_hidden=hidden, chain=2, take="all")


YOLOV7_TINY = Blueprint(
    name="yolov7-tiny",
    activation="leaky_relu",
    nodes=(
        node("stem", Conv(32, 3, 2)),
        node("down2", Conv(64, 3, 2)),
        node("stage2", _elan(32, 64)),
        node("down3", MaxPool()),
        node("stage3", _elan(64, 128)),
        node("down4", MaxPool()),
        node("stage4", _elan(128, 256)),
        node("down5", MaxPool()),
        node("stage5", _elan(256, 512)),
        node("spp", TinySpp(256)),
        node("reduce5", Conv(128)),
        node("up5", Upsample()),
        node("lateral4", Conv(128), "stage4"),
        node("merge4", Concat(), "lateral4", "up5"),
        node("top_down4", _elan(64, 128)),
        node("reduce4", Conv(64)),
        node("up4", Upsample()),
        node("lateral3", Conv(64), "stage3"),
        node("merge3", Concat(), "lateral3", "up4"),
        node("top_down3", _elan(32, 64)),
        node("neck_down4", Conv(128, 3, 2)),
        node("neck_merge4", Concat(), "neck_down4", "top_down4"),
        node("bottom_up4", _elan(64, 128)),
        node("neck_down5", Conv(256, 3, 2)),
        node("neck_merge5", Concat(), "neck_down5", "spp"),
        node("bottom_up5", _elan(128, 256)),
        node("out3", Conv(128, 3), "top_down3"),
        node("out4", Conv(256, 3), "bottom_up4"),
        node("out5", Conv(512, 3), "bottom_up5"),
    ),
    outputs=("out3", "out4", "out5"),
    anchors=(
        ((10, 13), (16, 30), (33, 23)),
        ((30, 61), (62, 45), (59, 119)),
        ((116, 90), (156, 198), (373, 326)),
    ),
)

YOLOV7_TINY_SILU = replace(YOLOV7_TINY, name="yolov7-tiny-silu", activation="silu")
