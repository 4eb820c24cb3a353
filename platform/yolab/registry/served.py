"""The code of a packaged model: MLflow runs this file where the model is loaded."""

from pathlib import Path
from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel

from yolab.data import coco
from yolab.errors import UsageError
from yolab.evaluation.detect import detect
from yolab.models import weights
from yolab.models.suppression import IOU, SHOWN_CONFIDENCE


class ServedDetector(PythonModel):
    """Detects objects in image files."""

    def load_context(self, context: Any) -> None:
        self.model, self.about = weights.load(context.artifacts["weights"])

    def predict(self, context: Any, model_input: list[str], params: dict[str, Any] | None = None) -> list:
        """Return for each image file its objects: class, score, box (x1 y1 x2 y2 in the image's pixels).

        `params` may hold `confidence` and `iou`, else they are as in `yolab predict`.
        """
        settings = {"confidence": SHOWN_CONFIDENCE, "iou": IOU} | (params or {})
        samples, unreadable = coco.unlabelled(Path(path) for path in model_input)
        if unreadable:
            path, reason = next(iter(unreadable.items()))
            raise UsageError(f"{path}: {reason}. Leave it out.")
        found = detect(self.model, samples, self.about.image_size, batch=8, **settings)
        return [
            [
                {"class": self.about.names[label], "score": score, "box": box}
                for box, score, label in zip(d.boxes.tolist(), d.scores.tolist(), d.classes.tolist())
            ]
            for d in sorted((each.with_area() for each in found), key=lambda d: d.image_id)
        ]


mlflow.models.set_model(ServedDetector())
