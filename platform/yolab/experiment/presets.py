"""The published settings by name, expanded first, so that every value in them can be overridden and searched."""

from collections.abc import Mapping
from typing import Any

from yolab.experiment.merging import merge
from yolab.experiment.schema import Augment

_AUGMENT = dict.fromkeys(set(Augment.model_fields) - {"preset", "extra"}, 0.0)
_AUGMENT |= {"mosaic": 1.0, "mosaic9": 0.2, "hue": 0.015, "saturation": 0.7, "brightness": 0.4, "flip": 0.5}
_AUGMENT_PRESETS: dict[str, dict[str, Any]] = {
    "p5": _AUGMENT | {"mixup": 0.15, "paste_in": 0.15, "scale": 0.9, "translate": 0.2},
    "tiny": _AUGMENT | {"mixup": 0.05, "paste_in": 0.05, "scale": 0.5, "translate": 0.1},
    "none": dict.fromkeys(_AUGMENT, 0.0),
}


def _recipe_preset(lr_final: float, gains: tuple[float, float, float]) -> dict[str, Any]:
    box, objectness, classification = gains
    return {
        "optimiser": {"lr": 0.01, "lr_final": lr_final, "momentum": 0.937, "weight_decay": 0.0005},
        "warmup": {"epochs": 3, "batches": 1000, "at_most": 0.1, "bias_lr": 0.1, "momentum": 0.8},
        "ema": {"decay": 0.9999, "ramp": 2000, "at_most": 0.05},
        "loss": {"box": box, "objectness": objectness, "classification": classification},
    }


_RECIPE_PRESETS = {"p5": _recipe_preset(0.1, (0.05, 0.7, 0.3)), "tiny": _recipe_preset(0.01, (0.05, 1.0, 0.5))}


def expand_presets(values: dict[str, Any]) -> dict[str, Any]:
    """Put the values of the named presets below the given ones. An unknown preset is left to the schema."""

    def section(of: Any, name: str) -> Mapping[str, Any]:
        found = of.get(name, {})
        return found if isinstance(found, Mapping) else {}

    recipe = section(values, "recipe").get("preset", "p5")
    named = section(section(values, "data"), "augment").get("preset")
    augment = named or (recipe if recipe in _RECIPE_PRESETS else "p5")
    below = {
        "recipe": _RECIPE_PRESETS.get(str(recipe), _RECIPE_PRESETS["p5"]),
        "data": {"augment": _AUGMENT_PRESETS.get(str(augment), _AUGMENT_PRESETS["p5"]) | {"preset": augment}},
    }
    return merge(below, values)
