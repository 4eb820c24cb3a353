"""What a trial is called, where people look for it."""

import pytest

from yolab.search.trial import title


@pytest.mark.parametrize(
    ("name", "point", "called"),
    [
        ("trial-003", {"model.scale.width": 0.5, "model.scale.depth": 1.0}, "mine/003 w0.5 d1"),
        (
            "trial-012",
            {"model.scale": {"depth": 1.5, "width": 1.25}, "assigner.top_k": 7},
            "mine/012 d1.5 w1.25 top_k=7",
        ),
        ("trial-000", {"recipe.optimiser.lr": 0.0123456, "recipe.patience": None}, "mine/000 lr=0.01235 patience=None"),
        ("silu-s0-1a2b3c", {"model.activation": "silu"}, "mine/silu-s0-1a2b3c"),
    ],
)
def test_a_trial_is_called_after_its_number_and_values(name: str, point: dict[str, object], called: str) -> None:
    assert title("mine", name, point) == called
