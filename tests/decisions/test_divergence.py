import json
import math
import pickle

import numpy as np
import pytest

from orchestrator.decisions.rules.divergence import DivergenceRule
from orchestrator.records import Action, TrainingSignal


def signal(step, loss=2.0, grad_norm=1.0, total_loss=None):
    return TrainingSignal(
        step, 16 * step, 160 * step, loss, loss if total_loss is None else total_loss, grad_norm, 1e-4, 1.0, 1.0
    )


def first_stop(watch, signals):
    return next((found for item in signals if (found := watch.check(item)) is not None), None)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"loss": math.nan}, "loss is not a number"),
        ({"loss": math.inf}, "loss is infinite"),
        ({"total_loss": math.nan}, "total loss is not a number"),
        ({"grad_norm": math.inf}, "gradient norm is infinite"),
    ],
)
def test_divergence_stops_non_finite_values_at_once(wrong, words):
    found = DivergenceRule().watch("t", "c")(signal(3, **wrong))
    assert found is not None
    assert found.action is Action.STOP
    assert found.rule == "divergence"
    assert found.cohort == "c"
    assert words in found.reason
    assert "step 3" in found.reason
    json.dumps(dict(found.evidence), allow_nan=False)


def test_divergence_stops_a_loss_far_above_its_start():
    found = first_stop(DivergenceRule().watch("t"), (signal(step, loss=2.0 + 0.2 * step) for step in range(1, 200)))
    assert found is not None
    assert found.evidence["signal"] == "loss"
    assert found.evidence["value"] > found.evidence["cut_off"] == pytest.approx(2.2 + 1.5)
    assert "3.7" in found.reason


def test_divergence_lets_noise_and_single_spikes_pass():
    rng = np.random.default_rng(0)
    losses = 3.0 - np.linspace(0, 1, 2000) + 0.3 * rng.standard_normal(2000)
    norms = np.exp(0.5 * rng.standard_normal(2000))
    losses[500], norms[700] = 9.0, 5000.0
    watch = DivergenceRule().watch("t")
    items = (signal(step, float(losses[step]), float(norms[step])) for step in range(2000))
    assert first_stop(watch, items) is None


def test_divergence_stops_an_exploding_norm_only_when_it_stays():
    watch = DivergenceRule().watch("t")
    calm = [signal(step, grad_norm=0.5) for step in range(1, 41)]
    wild = [signal(step, grad_norm=80.0) for step in range(41, 50)]
    assert first_stop(watch, calm) is None
    found = first_stop(watch, wild)
    assert found is not None
    assert found.samples_seen == 16 * 43
    assert found.evidence["median"] == 0.5
    assert found.evidence["cut_off"] == 50.0


def test_divergence_needs_a_warm_up_before_it_judges_the_norm():
    watch = DivergenceRule().watch("t")
    rising = [signal(step, grad_norm=1e-3 if step < 5 else 10.0) for step in range(1, 100)]
    assert first_stop(watch, rising) is None


def test_divergence_recording_stops_for_non_finite_values_alone():
    rule = pickle.loads(pickle.dumps(DivergenceRule().recording()))
    watch = rule.watch("t")
    assert first_stop(watch, (signal(step, loss=2.0 * step) for step in range(1, 100))) is None
    assert watch.check(signal(100, loss=math.nan)) is not None


def test_divergence_switched_off_says_nothing():
    assert DivergenceRule(enabled=False).watch("t").check(signal(1, loss=math.nan)) is None


@pytest.mark.parametrize(
    "wrong", [{"loss_margin": 0}, {"grad_norm_factor": 1}, {"loss_factor": 0.5}, {"patience_steps": 0}]
)
def test_divergence_rule_refuses_senseless_parameters(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DivergenceRule(**wrong)
