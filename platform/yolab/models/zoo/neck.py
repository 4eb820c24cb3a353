"""The neck that most families share: top-down, then bottom-up, through computational blocks (path aggregation)."""

from collections.abc import Callable, Mapping

from yolab.models.blueprint import Block, Concat, Conv, Node, Upsample, node


def path_aggregation(
    lateral_widths: Mapping[int, int],
    block: Callable[[int], Block],
    down: Callable[[int], Block],
    out: Callable[[int], Block] | None = None,
) -> tuple[Node, ...]:
    """Return the nodes from "spp", the pyramid's top, to "top_down3" and back up to "bottom_up" of the top's level.

    Level n has stride 2ⁿ; `lateral_widths` are those of the 1×1 on the way down and of the 1×1 on "stage<n>", for each
    level below the top. `block` and `down` give a level's computational block and the down-sampling that leads to it;
    `out`, where given, a block "out<n>" right after the level's last.
    """
    nodes: list[Node] = []
    levels = sorted(lateral_widths, reverse=True)
    top = levels[0] + 1
    for level in levels:
        nodes += [
            node(f"reduce{level + 1}", Conv(lateral_widths[level])),
            node(f"up{level + 1}", Upsample()),
            node(f"lateral{level}", Conv(lateral_widths[level]), f"stage{level}"),
            node(f"merge{level}", Concat(), f"lateral{level}", f"up{level + 1}"),
            node(f"top_down{level}", block(level)),
        ]
    newest = f"top_down{levels[-1]}"
    if out:
        nodes.append(node(f"out{levels[-1]}", out(levels[-1]), newest))
    for level in range(levels[-1] + 1, top + 1):
        side = "spp" if level == top else f"top_down{level}"
        nodes += [
            node(f"neck_down{level}", down(level), newest),
            node(f"neck_merge{level}", Concat(), f"neck_down{level}", side),
            node(f"bottom_up{level}", block(level)),
        ]
        newest = f"bottom_up{level}"
        if out:
            nodes.append(node(f"out{level}", out(level), newest))
    return tuple(nodes)


def outputs(block: Callable[[int], Block], levels: range) -> tuple[Node, ...]:
    """Return the blocks before the head, one after the other at the end."""
    first = levels[0]
    return tuple(
        node(f"out{level}", block(level), f"top_down{level}" if level == first else f"bottom_up{level}")
        for level in levels
    )
