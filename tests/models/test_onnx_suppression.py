"""Suppression in an ONNX graph answers as suppression in torch."""

import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from yolab.models.onnx_suppression import append_suppression
from yolab.models.suppression import IOU, MOST, SHOWN_CONFIDENCE, suppress


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    """A graph that has its predictions as input."""
    shape = ["batch", "predictions", "values"]
    predictions, same = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("raw", "predictions")
    )
    graph = helper.make_graph([helper.make_node("Identity", ["raw"], ["predictions"])], "test", [predictions], [same])
    append_suppression(graph)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString())


def predictions_of(boxes: int, objectness: float) -> torch.Tensor:
    """Return (1, 2000, 5 + 8) predictions of which so many are objects, all over a large image."""
    generator = torch.Generator().manual_seed(boxes)
    decoded = torch.rand(1, 2000, 13, generator=generator)
    decoded[..., :2] *= 640
    decoded[..., 2:4] = decoded[..., 2:4] * 40 + 4
    decoded[:, boxes:, 4] = 0
    decoded[:, :boxes, 4] = objectness
    return decoded


def both(session: onnxruntime.InferenceSession, decoded: torch.Tensor, **given: float) -> tuple[torch.Tensor, list]:
    """Return the rows of the graph, and what `suppress` finds in each image."""
    inputs = {name: torch.tensor([value]).numpy() for name, value in given.items()}
    (found,) = session.run(["detections"], {"raw": decoded.numpy(), **inputs})
    confidence, iou = given.get("confidence", SHOWN_CONFIDENCE), given.get("iou", IOU)
    return torch.from_numpy(found), suppress(decoded, confidence, iou)


def test_a_crowded_batch_has_the_same_boxes_best_first_and_no_more_of_an_image_than_the_cap(session):
    decoded = torch.cat([predictions_of(20, 0.9), predictions_of(2000, 0.99), predictions_of(30, 0.8)])
    found, expected = both(session, decoded)
    assert len(expected[1]) == MOST > len(expected[0]) > 20 < len(expected[2]) < MOST
    assert found[:, 0].tolist() == [float(image) for image, boxes in enumerate(expected) for _ in boxes]
    torch.testing.assert_close(found[:, 1:], torch.cat(expected))


def test_the_limits_may_be_given_and_an_image_may_hold_nothing(session):
    decoded = torch.cat([predictions_of(0, 0.0), predictions_of(100, 0.9)])
    found, (nothing, some) = both(session, decoded, confidence=0.6, iou=0.2)
    assert len(nothing) == 0 < len(some)
    torch.testing.assert_close(found, torch.cat([torch.ones(len(some), 1), some], 1))
    found, _ = both(session, decoded[:1])
    assert found.shape == (0, 7)
