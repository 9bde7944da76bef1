"""A trial that starts from another one's checkpoint: trained on exactly to a larger budget, or from its weights alone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.errors import CheckpointError
from orchestrator.settings.trial_setup import TrainingSettings
from orchestrator.training.loop.trial import Trial
from tests.worlds.trial_world import MemoryRows, make_trial, tiny_config, weights_of

SETTINGS = TrainingSettings(micro_batch_tokens=64)
METHODS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora_dropout": {"method": "lora", "method_options": {"r": 4, "lora_dropout": 0.3}},
    "llrd": {},
}


def a_trial(name: str = "full", **changes: Any) -> Trial:
    options = {"method": name, "weight_decay": 0.1, "warmup_unit": "steps", "warmup_amount": 2.0, **METHODS[name]}
    return make_trial(tiny_config(**{**options, **changes}), rows=MemoryRows(40), settings=SETTINGS)


@pytest.mark.parametrize("name", METHODS)
def test_larger_budget_goes_on_bit_for_bit_as_if_it_had_been_the_trials_own(tmp_path: Path, name: str) -> None:
    whole = a_trial(name, samples=128)
    expected = whole.advance(128).signals
    parent = a_trial(name, samples=80)
    before = parent.advance(80).signals
    assert parent.done
    parent.save(tmp_path / "end")
    longer = a_trial(name, samples=128)
    longer.take_over(tmp_path / "end", training=True)
    assert (longer.samples_seen, longer.done) == (80, False)
    assert (*before, *longer.advance(128).signals) == expected
    wanted = weights_of(whole)
    assert all(torch.equal(weight, wanted[key]) for key, weight in weights_of(longer).items())


def test_weights_alone_begin_a_training_of_their_own(tmp_path: Path) -> None:
    parent = a_trial(samples=80)
    parent.advance(40)
    parent.save(tmp_path / "half")
    clone = a_trial(samples=80, learning_rate=1e-3, seed=3, schedule="cosine")
    clone.take_over(tmp_path / "half", training=False)
    taken, fresh = weights_of(parent), weights_of(a_trial(samples=80))
    assert all(torch.equal(weight, taken[key]) for key, weight in weights_of(clone).items())
    assert any(not torch.equal(weight, fresh[key]) for key, weight in weights_of(clone).items())
    assert (clone.samples_seen, clone.step) == (0, 0)
    assert clone.advance(80).signals[0].step == 1


@pytest.mark.parametrize(
    ("changes", "training", "said"),
    [
        ({"learning_rate": 1e-3, "samples": 128}, True, "learning_rate"),
        ({"method": "llrd"}, False, "method"),
        ({"samples": 80}, True, "optimizer step"),
    ],
)
def test_checkpoint_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], training: bool, said: str
) -> None:
    parent = a_trial(samples=80)
    parent.advance(80)
    parent.save(tmp_path / "end")
    other = a_trial(changes.get("method", "full"), **{k: v for k, v in changes.items() if k != "method"})
    with pytest.raises(CheckpointError, match=said):
        other.take_over(tmp_path / "end", training=training)


def test_last_step_that_was_cut_does_not_go_on(tmp_path: Path) -> None:
    parent = a_trial(samples=76)
    parent.advance(76)
    parent.save(tmp_path / "end")
    longer = a_trial(samples=128)
    with pytest.raises(CheckpointError, match="optimizer step"):
        longer.take_over(tmp_path / "end", training=True)
