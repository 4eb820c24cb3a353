"""The models for 1280 px, with a fourth level and an auxiliary head (paper, Table 1 and section 4.2): W6; E6 and D6 by
compound scaling of it; E6E, whose computational blocks are extended (Figure 2 d)."""

from dataclasses import replace

from yolab.experiment import Scale
from yolab.models.blueprint import Add, Blueprint, Conv, DownC, Elan, SpaceToDepth, SppCspc, node, scaled
from yolab.models.zoo import anchors
from yolab.models.zoo.neck import outputs, path_aggregation
from yolab.models.zoo.yolov7 import all_of_half_width, every_second

_LEVELS = range(3, 7)
_BACKBONE = {2: 128, 3: 256, 4: 512, 5: 768, 6: 1024}
_NECK = {3: 128, 4: 256, 5: 384, 6: 512}
_AUXILIARY_INPUTS = {3: "top_down3", 4: "top_down4", 5: "top_down5", 6: "spp"}


def with_down_c(blueprint: Blueprint) -> Blueprint:
    """Return the blueprint with DownC in place of each plain 3×3 of stride 2."""
    return replace(
        blueprint,
        nodes=tuple(
            replace(n, block=DownC(n.block.out)) if isinstance(n.block, Conv) and n.block.stride == 2 else n
            for n in blueprint.nodes
        ),
    )


def _extended(blueprint: Blueprint) -> Blueprint:
    """Return the blueprint with each computational block as an E-ELAN: a second one on the same input, and the sum.

    The auxiliary head reads the second set before the sum, so it is a partial one (paper, section 5.4.3, Table 8).
    """
    nodes = []
    inputs = blueprint.inputs_of()
    for part in blueprint.nodes:
        if not isinstance(part.block, Elan):
            nodes.append(part)
            continue
        first, second = f"{part.name}_first", f"{part.name}_second"
        nodes += [node(first, part.block, *inputs[part.name]), node(second, part.block, *inputs[part.name])]
        nodes.append(node(part.name, Add(), second, first))
    auxiliary = {f"auxiliary{level}": name for level, name in _AUXILIARY_INPUTS.items() if name != "spp"}
    nodes = [replace(n, inputs=(f"{auxiliary[n.name]}_second",)) if n.name in auxiliary else n for n in nodes]
    return replace(blueprint, nodes=tuple(nodes))


def _with_auxiliary_widths(blueprint: Blueprint, widths: tuple[int, ...]) -> Blueprint:
    blocks = {name: Conv(width, 3) for name, width in zip(blueprint.auxiliary, widths)}
    return replace(blueprint, nodes=tuple(replace(n, block=blocks.get(n.name, n.block)) for n in blueprint.nodes))


_W6 = Blueprint(
    name="yolov7-w6",
    image_size=1280,
    nodes=(
        node("space_to_depth", SpaceToDepth()),
        node("stem", Conv(64, 3)),
        *(
            part
            for level, out in _BACKBONE.items()
            for part in (
                node(f"down{level}", Conv(out, 3, 2)),
                node(f"stage{level}", every_second(out // 2, out)),
            )
        ),
        node("spp", SppCspc(512)),
        *path_aggregation(
            {level: _NECK[level] for level in (5, 4, 3)},
            lambda level: all_of_half_width(_NECK[level], _NECK[level]),
            lambda level: Conv(_NECK[level], 3, 2),
        ),
        *outputs(lambda level: Conv(2 * _NECK[level], 3), _LEVELS),
        *(node(f"auxiliary{level}", Conv(2 * _NECK[level], 3), _AUXILIARY_INPUTS[level]) for level in _LEVELS),
    ),
    outputs=tuple(f"out{level}" for level in _LEVELS),
    auxiliary=tuple(f"auxiliary{level}" for level in _LEVELS),
    anchors=anchors.P6,
)

# published with an auxiliary branch as wide as E6's
YOLOV7_W6 = _with_auxiliary_widths(_W6, (320, 640, 960, 1280))
YOLOV7_E6 = replace(scaled(with_down_c(_W6), Scale(depth=1.5, width=1.25)), name="yolov7-e6")
YOLOV7_D6 = replace(scaled(with_down_c(_W6), Scale(depth=2, width=1.5)), name="yolov7-d6")
YOLOV7_E6E = replace(_extended(YOLOV7_E6), name="yolov7-e6e")
