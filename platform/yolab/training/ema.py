"""The exponential moving average of a model's weights, which is the model that a run delivers."""

import copy
import math

import torch

from yolab.models.detector import Detector


class Ema:
    """Average of parameters and float buffers; its decay rises as decay · (1 − e^(−updates / ramp))."""

    def __init__(self, model: Detector, decay: float, ramp: float) -> None:
        self.model = copy.deepcopy(model)
        self.model.eval().requires_grad_(False)
        self.decay, self.ramp = decay, ramp
        self.updates = 0

    @torch.no_grad()
    def update(self, model: Detector) -> None:
        """Take in the weights after an optimiser step."""
        self.updates += 1
        weight = 1 - self.decay * (1 - math.exp(-self.updates / self.ramp))
        averaged, current = self.model.state_dict(), model.state_dict()
        floats = [name for name, value in averaged.items() if value.is_floating_point()]
        torch._foreach_lerp_([averaged[n] for n in floats], [current[n] for n in floats], weight)
