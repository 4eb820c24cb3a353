"""What compound scaling does to the cost of a model, as a figure (paper, Figure 3 and section 5.4.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ScaledCost:
    """Of one point of the grid: factors of depth and width, parameters of the folded graph in millions, GFLOPs, and
    milliseconds for an image."""

    depth: float
    width: float
    params_millions: float
    gflops: float
    milliseconds: float


def save_scaling(name: str, points: Sequence[ScaledCost], target: Path) -> None:
    """Save heat maps of parameters, GFLOPs and latency over depth and width as one HTML page that needs no network."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    depths, widths = (sorted({getattr(point, axis) for point in points}) for axis in ("depth", "width"))
    at = {(point.depth, point.width): point for point in points}
    titles = {"params_millions": "parameters (M)", "gflops": "GFLOPs", "milliseconds": "latency (ms)"}
    figure = make_subplots(cols=len(titles), subplot_titles=list(titles.values()), horizontal_spacing=0.06)
    for column, value in enumerate(titles, start=1):
        rows = [[getattr(at.get((depth, width)), value, None) for width in widths] for depth in depths]
        heat = go.Heatmap(z=rows, x=widths, y=depths, texttemplate="%{z:.3g}", showscale=False, colorscale="Viridis")
        figure.add_trace(heat, row=1, col=column)
        figure.update_xaxes(title="width", type="category", row=1, col=column)
        figure.update_yaxes(title="depth" if column == 1 else None, type="category", row=1, col=column)
    figure.update_layout(title=f"{name} by compound scaling", template="plotly_white")
    figure.write_html(target, include_plotlyjs=True)
