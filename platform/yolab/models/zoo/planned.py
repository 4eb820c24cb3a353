"""Planned re-parameterization: the models of the paper's Tables 4 and 5 (sections 4.1 and 5.4.2).

Table 4 places RepConv (or RepConvN, where the output is concatenated) in the chains of a 3-stacked ELAN: six 3×3 in
three stacks of two, the second of each concatenated. Which positions the variants (a) to (e) of Figure 6 mark is in its
drawing alone, which we don't have: those below are our choice, a line each. Table 5 has the dark block and the reversed
dark block of Figure 7 in CSP stages.
"""

from dataclasses import replace

from yolab.experiment import Scale
from yolab.models.blueprint import Blueprint, Csp, Elan, Residual, scaled
from yolab.models.zoo.yolor import YOLOR_CSP, YOLOR_W6
from yolab.models.zoo.yolov7 import YOLOV7X_LIGHT

_DARK_REP = Residual(rep=True)
_REVERSED = Residual("reversed dark")
_REVERSED_REP = Residual("reversed dark", rep=True)


def _with_rep(letter: str, rep_conv: tuple[int, ...] = (), rep_conv_n: tuple[int, ...] = ()) -> Blueprint:
    """Return the 3-stacked ELAN with these positions of every chain re-parameterized, with and without identity."""
    nodes = tuple(
        replace(n, block=replace(n.block, rep_conv=rep_conv, rep_conv_n=rep_conv_n)) if isinstance(n.block, Elan) else n
        for n in ELAN3.nodes
    )
    return replace(ELAN3, name=f"{ELAN3.name}-{letter}", nodes=nodes)


def _with_units(name: str, base: Blueprint, unit: Residual) -> Blueprint:
    """Return a CSP model with another residual unit in its backbone."""
    nodes = tuple(
        replace(n, block=replace(n.block, unit=unit)) if isinstance(n.block, Csp) and n.block.unit.shortcut else n
        for n in base.nodes
    )
    return replace(base, name=name, nodes=nodes)


ELAN3 = replace(scaled(YOLOV7X_LIGHT, Scale(depth=1.5)), name="yolov7-3s-elan")
ELAN3_A = _with_rep("a", rep_conv=(1,))
ELAN3_B = _with_rep("b", rep_conv=(1, 3, 5))
ELAN3_C = _with_rep("c", rep_conv_n=(2, 4, 6))
ELAN3_D = _with_rep("d", rep_conv=(1, 3, 5), rep_conv_n=(2, 4, 6))
ELAN3_E = _with_rep("e", rep_conv=(1, 2, 3, 4, 5, 6))

YOLOR_W6_REPCSP = _with_units("yolor-w6-repcsp", YOLOR_W6, _DARK_REP)
YOLOR_W6_RCSP = _with_units("yolor-w6-rcsp", YOLOR_W6, _REVERSED)
YOLOR_W6_REPRCSP = _with_units("yolor-w6-reprcsp", YOLOR_W6, _REVERSED_REP)
YOLOR_CSP_REPRCSP = _with_units("yolor-csp-reprcsp", YOLOR_CSP, _REVERSED_REP)
