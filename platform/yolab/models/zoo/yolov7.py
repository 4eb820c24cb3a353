"""YOLOv7 (paper, Table 1 and Figure A1)."""

from yolab.models.blueprint import Blueprint, Concat, Conv, Elan, PoolConvDown, RepConv, SppCspc, Upsample, node


def _backbone_elan(hidden: int, out: int) -> Elan:
    return Elan(out=out, hidden=hidden, chain_hidden=hidden, chain=4)


def _neck_elan(hidden: int, out: int) -> Elan:
    return Elan(out=out, hidden=hidden, chain_hidden=hidden // 2, chain=4, take="all")


YOLOV7 = Blueprint(
    name="yolov7",
    nodes=(
        node("stem", Conv(32, 3)),
        node("down1", Conv(64, 3, 2)),
        node("stem2", Conv(64, 3)),
        node("down2", Conv(128, 3, 2)),
        node("stage2", _backbone_elan(64, 256)),
        node("down3", PoolConvDown(128)),
        node("stage3", _backbone_elan(128, 512)),
        node("down4", PoolConvDown(256)),
        node("stage4", _backbone_elan(256, 1024)),
        node("down5", PoolConvDown(512)),
        node("stage5", _backbone_elan(256, 1024)),
        node("spp", SppCspc(512)),
        node("reduce5", Conv(256)),
        node("up5", Upsample()),
        node("lateral4", Conv(256), "stage4"),
        node("merge4", Concat(), "lateral4", "up5"),
        node("top_down4", _neck_elan(256, 256)),
        node("reduce4", Conv(128)),
        node("up4", Upsample()),
        node("lateral3", Conv(128), "stage3"),
        node("merge3", Concat(), "lateral3", "up4"),
        node("top_down3", _neck_elan(128, 128)),
        node("neck_down4", PoolConvDown(128)),
        node("neck_merge4", Concat(), "neck_down4", "top_down4"),
        node("bottom_up4", _neck_elan(256, 256)),
        node("neck_down5", PoolConvDown(256)),
        node("neck_merge5", Concat(), "neck_down5", "spp"),
        node("bottom_up5", _neck_elan(512, 512)),
        node("out3", RepConv(256), "top_down3"),
        node("out4", RepConv(512), "bottom_up4"),
        node("out5", RepConv(1024), "bottom_up5"),
    ),
    outputs=("out3", "out4", "out5"),
    anchors=(
        ((12, 16), (19, 36), (40, 28)),
        ((36, 75), (76, 55), (72, 146)),
        ((142, 110), (192, 243), (459, 401)),
    ),
)
