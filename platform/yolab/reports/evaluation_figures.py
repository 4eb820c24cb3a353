"""What an evaluation found, as pictures: precision over recall, the confusion matrix, the worst images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from yolab.data.coco import Dataset
from yolab.evaluation import confusion
from yolab.evaluation.detect import ImageDetections
from yolab.evaluation.metrics import Scores
from yolab.models.suppression import SHOWN_CONFIDENCE
from yolab.reports.pictures import save_sheet, there_and_found

_WORST = 12
_MOST_CURVES = 20


def save_report(dataset: Dataset, detections: Sequence[ImageDetections], scores: Scores, folder: Path) -> list[Path]:
    """Write precision_recall.html, confusion.html and, where there is a mistake, worst.jpg (above or left: what is
    there, then what was found) into a folder; return them."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [_curves(dataset, scores, folder), _matrix(dataset, detections, folder)]
    worst = confusion.worst(dataset.samples, detections, len(dataset.names), _WORST)
    if worst:
        pictures = [there_and_found(sample, [found], dataset.names) for sample, found in worst]
        save_sheet(pictures, 4, folder / "worst.jpg")
        written.append(folder / "worst.jpg")
    return written


def save_differences(
    dataset: Dataset, first: Sequence[ImageDetections], second: Sequence[ImageDetections], target: Path
) -> bool:
    """Save the images on which two models differ most as one picture: what is there, what the first found, what the
    second did. Return whether there are any."""
    different = confusion.most_different(dataset.samples, first, second, len(dataset.names), _WORST)
    if different:
        target.parent.mkdir(parents=True, exist_ok=True)
        pictures = [there_and_found(sample, founds, dataset.names) for sample, founds in different]
        save_sheet(pictures, 4, target)
    return bool(different)


def _curves(dataset: Dataset, scores: Scores, folder: Path) -> Path:
    import plotly.graph_objects as go

    recall = np.linspace(0, 1, scores.precision.shape[1])
    figure = go.Figure()
    for number in np.argsort(-np.nan_to_num(scores.class_ap50, nan=-1))[:_MOST_CURVES]:
        if not np.isnan(scores.class_ap50[number]):
            name = f"{dataset.names[number]}, AP50 {scores.class_ap50[number]:.3f}, AP {scores.class_ap[number]:.3f}"
            figure.add_scatter(x=recall, y=scores.precision[number], name=name)
    figure.update_layout(title="Precision over recall, IoU 0.5", template="plotly_white")
    figure.update_xaxes(title="recall", range=[0, 1])
    figure.update_yaxes(title="precision", range=[0, 1.02])
    figure.write_html(folder / "precision_recall.html", include_plotlyjs=True)
    return folder / "precision_recall.html"


def _matrix(dataset: Dataset, detections: Sequence[ImageDetections], folder: Path) -> Path:
    import plotly.graph_objects as go

    counts = confusion.confusion(dataset.samples, detections, len(dataset.names))
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    heat = go.Heatmap(
        z=shares,
        x=[*dataset.names, "not found"],
        y=[*dataset.names, "nothing there"],
        text=counts.tolist(),
        texttemplate="%{text}" if len(counts) <= _MOST_CURVES else None,
        hovertemplate="%{y} found as %{x}: %{text}<extra></extra>",
        colorscale="Blues",
    )
    figure = go.Figure(heat)
    figure.update_layout(
        title=f"What was there (rows) found as what (columns), confidence {SHOWN_CONFIDENCE}",
        template="plotly_white",
    )
    figure.update_yaxes(autorange="reversed")
    figure.write_html(folder / "confusion.html", include_plotlyjs=True)
    return folder / "confusion.html"
