"""The schedule cut to the length of a run, and the optimiser's groups."""

import pytest
import torch

from yolab.errors import UsageError
from yolab.experiment import Experiment, Scale, build
from yolab.models import zoo
from yolab.models.blueprint import scaled
from yolab.models.detector import Detector
from yolab.training.ema import Ema
from yolab.training.optimiser import OPTIMISERS, make_optimiser
from yolab.training.schedule import follow_schedule, schedule


def recipe_of(**changes) -> Experiment:
    changes = {f"recipe.{path.replace('__', '.')}": value for path, value in changes.items()}
    return build({"name": "x", "recipe": {"preset": "tiny"}}, changes, "test").recipe


@pytest.fixture
def model():
    return Detector(scaled(zoo.find("yolov7-tiny"), Scale(width=0.125, hidden=0.125)), classes=3)


def test_a_long_run_keeps_the_published_warm_up_accumulation_and_ema():
    plan = schedule(recipe_of(epochs=300, batch=16), batches_an_epoch=7393)
    assert (plan.accumulate, plan.warmup_batches) == (4, 3 * 7393)
    assert plan.ema_decay == pytest.approx(0.9999)
    assert plan.ema_ramp == 2000


def test_a_short_run_gets_a_tenth_of_warm_up_no_accumulation_and_a_quick_ema():
    plan = schedule(recipe_of(epochs=15, batch=16), batches_an_epoch=19)
    assert (plan.accumulate, plan.warmup_batches) == (1, 28)
    assert 1 / (1 - plan.ema_decay) == pytest.approx(0.05 * 285)


def test_weight_decay_is_on_convolution_weights_alone_and_follows_the_batch(model):
    optimiser = make_optimiser(model, recipe_of(batch=32), accumulate=1)
    decayed = [group for group in optimiser.param_groups if group["weight_decay"]]
    assert [group["weight_decay"] for group in decayed] == [pytest.approx(0.0005 * 32 / 64)]
    assert all(p.ndim == 4 and p.shape[0] > 1 for p in decayed[0]["params"])
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(list(model.parameters()))
    assert not any(p is implicit for p in decayed[0]["params"] for implicit in model.head.add)


def test_learning_rate_warms_up_then_follows_the_cosine_to_its_last_factor(model):
    recipe = recipe_of(epochs=10, batch=16)
    plan = schedule(recipe, batches_an_epoch=20)
    optimiser = make_optimiser(model, recipe, plan.accumulate)
    follow_schedule(optimiser, recipe, plan, 0)
    assert [group["lr"] for group in optimiser.param_groups] == [0.0, 0.1, 0.0]
    assert optimiser.param_groups[0]["momentum"] == pytest.approx(0.8)
    follow_schedule(optimiser, recipe, plan, plan.warmup_batches)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.01, rel=0.03)
    assert optimiser.param_groups[0]["momentum"] == pytest.approx(0.937)
    rates = []
    for batch in range(plan.warmup_batches, 200):
        follow_schedule(optimiser, recipe, plan, batch)
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates == sorted(rates, reverse=True)


def test_adamw_decays_convolution_weights_alone_and_warms_up_beta1_in_the_place_of_momentum(model):
    recipe = recipe_of(epochs=10, batch=16, optimiser__name="adamw")
    plan = schedule(recipe, batches_an_epoch=20)
    optimiser = make_optimiser(model, recipe, plan.accumulate)
    assert isinstance(optimiser, torch.optim.AdamW)
    assert [group["weight_decay"] for group in optimiser.param_groups] == [pytest.approx(0.0005 * 16 / 64), 0, 0]
    for batch, beta1 in ((0, 0.8), (plan.warmup_batches, 0.937)):
        follow_schedule(optimiser, recipe, plan, batch)
        assert [group["betas"] for group in optimiser.param_groups] == [(pytest.approx(beta1), 0.999)] * 3
        assert not any("momentum" in group for group in optimiser.param_groups)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.01, rel=0.03)


@pytest.mark.parametrize("path", ["optimiser__momentum", "warmup__momentum"])
def test_a_recipe_that_adamw_can_not_follow_is_refused_before_it_starts(path):
    with pytest.raises(UsageError, match="momentum can't be 1 with adamw"):
        OPTIMISERS["adamw"].check(recipe_of(optimiser__name="adamw", **{path: 1.0}))
    OPTIMISERS["sgd"].check(recipe_of(**{path: 1.0}))


def test_ema_follows_the_weights_at_once_at_first_and_slowly_later(model):
    ema = Ema(model, decay=0.999, ramp=100)
    name = "head.outputs.0.bias"
    start = model.state_dict()[name].clone()
    model.head.output(0).bias.data += 1
    ema.update(model)
    moved = (ema.model.state_dict()[name] - start).mean().item()
    assert moved == pytest.approx(1 - 0.999 * (1 - 2.718281828 ** (-1 / 100)), abs=1e-4)
    ema.updates = 100_000
    model.head.output(0).bias.data += 1
    before = ema.model.state_dict()[name].clone()
    ema.update(model)
    expected = 0.001 * (model.state_dict()[name] - before)
    torch.testing.assert_close(ema.model.state_dict()[name] - before, expected, rtol=1e-2, atol=1e-6)
