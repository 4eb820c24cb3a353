"""YOLOv3 and YOLOv3-SPP: the baselines of residual chains."""

from yolab.models.blueprint import Block, Blueprint, Concat, Conv, Residual, ResidualChain, Spp, Upsample, node
from yolab.models.zoo import anchors


def _blueprint(name: str, pyramid: Block) -> Blueprint:
    def plain(out: int, repeat: int = 1) -> ResidualChain:
        return ResidualChain(out, repeat, Residual(expansion=0.5, shortcut=False))

    return Blueprint(
        name=name,
        nodes=(
            node("stem", Conv(32, 3)),
            node("down1", Conv(64, 3, 2)),
            node("stage1", ResidualChain(64, 1)),
            node("down2", Conv(128, 3, 2)),
            node("stage2", ResidualChain(128, 2)),
            node("down3", Conv(256, 3, 2)),
            node("stage3", ResidualChain(256, 8)),
            node("down4", Conv(512, 3, 2)),
            node("stage4", ResidualChain(512, 8)),
            node("down5", Conv(1024, 3, 2)),
            node("stage5", ResidualChain(1024, 4)),
            node("neck5", plain(1024)),
            node("pyramid", pyramid),
            node("after_pyramid", Conv(1024, 3)),
            node("reduce5", Conv(512)),
            node("out5", Conv(1024, 3)),
            node("lateral5", Conv(256), "reduce5"),
            node("up5", Upsample()),
            node("merge4", Concat(), "up5", "stage4"),
            node("neck4", plain(512)),
            node("neck4_second", plain(512)),
            node("reduce4", Conv(256)),
            node("out4", Conv(512, 3)),
            node("lateral4", Conv(128), "reduce4"),
            node("up4", Upsample()),
            node("merge3", Concat(), "up4", "stage3"),
            node("neck3", plain(256)),
            node("out3", plain(256, 2)),
        ),
        outputs=("out3", "out4", "out5"),
        anchors=anchors.TINY,
        implicit=False,
    )


YOLOV3 = _blueprint("yolov3", Conv(512))
YOLOV3_SPP = _blueprint("yolov3-spp", Spp(512))
