"""An optimizer is one file and one entry: search space, identity, training, resume and memory read the entry."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from orchestrator.coordinating.searchers.optuna_space import config_from, parameters_of
from orchestrator.errors import SpecError
from orchestrator.records import Scalar, TrialConfig
from orchestrator.settings.data import about
from orchestrator.settings.trial_setup import TrainingSettings
from orchestrator.spec.search_space.enumeration import grid_configs, holds
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.trial.dimensions import DIMENSIONS, space_of_config
from orchestrator.spec.trial.identity import trial_fingerprint, trial_name
from orchestrator.spec.trial.optimizers import OPTIMIZERS, OptimizerEntry, optimizer_options
from orchestrator.spec.trial.options import options_of
from orchestrator.tracking.naming import config_params
from orchestrator.training.loop.memory_estimate import ModelShape, estimate_memory
from orchestrator.training.methods.contract.method import ParameterGroup
from tests.worlds.trial_world import MemoryRows, make_trial, tiny_config, tiny_model, weights_of

SETTINGS = TrainingSettings(micro_batch_tokens=64)


class SignedMomentum(Optimizer):
    """Steps by the sign of a running mean, every other time twice as far: a tensor, a number and a text to remember."""

    def __init__(self, groups: list[ParameterGroup], rate: float, momentum: float) -> None:
        super().__init__(groups, {"lr": rate, "momentum": momentum, "pace": "slow"})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state.setdefault("mean", torch.zeros_like(parameter))
                state["mean"].lerp_(parameter.grad, 1 - group["momentum"])
                parameter.sub_(group["lr"] * (2 if group["pace"] == "fast" else 1) * state["mean"].sign())
                state["times"] = state.get("times", 0) + 1
            group["pace"] = "fast" if group["pace"] == "slow" else "slow"


@dataclass(frozen=True)
class SignedOptions:
    momentum: float = field(default=0.9, metadata=about("Share of the mean that is kept.", ge=0.0, le=1.0))
    nesterov: bool = field(default=False, metadata=about("Looks ahead."))


def build_signed(
    model: nn.Module, groups: list[ParameterGroup], config: TrialConfig, options: Mapping[str, Scalar]
) -> Optimizer:
    return SignedMomentum(groups, config.learning_rate, float(options["momentum"]))


@pytest.fixture(autouse=True)
def _signed(monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"{__name__}:build_signed"
    monkeypatch.setitem(
        OPTIMIZERS, "signed", OptimizerEntry("toy", place, state_numbers=1, options=options_of(SignedOptions))
    )


def space(optimizer: object) -> SearchSpace:
    values = {"method": "full", "effective_batch_size": 8, "learning_rate": 1e-3, "optimizer": optimizer}
    return SearchSpace.model_validate(values)


def test_a_search_space_takes_it_with_options() -> None:
    made = space(["adamw", {"name": "signed", "momentum": "5e-1"}, {"name": "signed"}])
    found = [(config.optimizer, config.optimizer_options) for config in grid_configs(made, 64)]
    assert found == [("adamw", {}), ("signed", {"momentum": 0.5}), ("signed", {})]
    for config in grid_configs(made, 64):
        assert holds(made, config)
        assert config_from(made, "full", parameters_of(made, config), 64) == config
        assert grid_configs(SearchSpace.model_validate(space_of_config(config)), 64) == [config]
    assert not holds(made, replace(grid_configs(made, 64)[1], optimizer_options={"momentum": 0.4}))


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        ("sined", "optimizer must be one of adamw, signed, got 'sined'; did you mean 'signed'"),
        ({"name": "signed", "momentun": 0.5}, "optimizer 'signed' has no option 'momentun'; did you mean 'momentum'"),
        ({"name": "signed", "momentum": 1.5}, r"momentum of optimizer 'signed' must lie in 0.0..1.0, got 1.5"),
        ({"name": "signed", "nesterov": 3}, "nesterov of optimizer 'signed' must be true or false, got 3"),
        ({"name": "adamw", "momentum": 0.5}, "it takes no options"),
        ({"momentum": 0.5}, "an optimizer is a name"),
        ({"fixed": ["adamw"]}, "optimizer must be one of adamw, signed"),
        (3, "optimizer must be one of adamw, signed, got 3"),
    ],
)
def test_a_search_space_refuses_what_it_does_not_take(optimizer: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        space(optimizer)


def test_identity_and_tracking_know_name_and_options() -> None:
    plain = tiny_config()
    signed = tiny_config(optimizer="signed", optimizer_options={"momentum": 0.5})
    assert "optimizer_options" not in plain.as_dict()
    assert TrialConfig.from_dict(signed.as_dict()) == signed
    ids = [trial_fingerprint(each) for each in (plain, replace(plain, optimizer="signed"), signed)]
    assert len(set(ids)) == 3
    assert trial_name(signed, {"optimizer"}) == "full lr3e-3 ebs8 signed s0"
    assert config_params(signed)["optimizer.momentum"] == 0.5
    assert "optimizer.momentum" not in config_params(plain)
    assert DIMENSIONS["optimizer"].label(signed) == "signed {'momentum': 0.5}"
    assert optimizer_options(signed) == {"momentum": 0.5, "nesterov": False}


def test_its_state_survives_saving_and_resuming_bit_for_bit(tmp_path: Path) -> None:
    def a_trial() -> Any:
        config = tiny_config(optimizer="signed", optimizer_options={"momentum": 0.5}, weight_decay=0.1)
        return make_trial(config, rows=MemoryRows(40), settings=SETTINGS)

    whole = a_trial()
    expected = whole.advance(80).signals
    first = a_trial()
    before = first.advance(40).signals
    first.save(tmp_path / "checkpoint")
    second = a_trial()
    second.load(tmp_path / "checkpoint")
    assert (*before, *second.advance(80).signals) == expected
    wanted = weights_of(whole)
    assert all(torch.equal(weight, wanted[key]) for key, weight in weights_of(second).items())
    adamw = make_trial(tiny_config(), rows=MemoryRows(40), settings=SETTINGS).advance(80).signals
    assert adamw != expected


def test_memory_counts_its_state() -> None:
    shape = ModelShape.of(tiny_model())
    sizes = [
        estimate_memory(shape, 1000, SETTINGS, micro_batch_tokens=8, optimizer=name).optimizer
        for name in ("adamw", "signed")
    ]
    assert sizes[0] == 2 * sizes[1]


def test_a_method_with_an_optimizer_of_its_own_says_so() -> None:
    config = tiny_config(method="lora_fa", optimizer="signed")
    with pytest.raises(SpecError, match="method 'lora_fa' brings an optimizer of its own"):
        make_trial(config)


def test_an_unknown_optimizer_is_told_where_training_meets_it() -> None:
    with pytest.raises(SpecError, match="trial: optimizer = 'adamv': must be one of adamw, signed"):
        make_trial(tiny_config(optimizer="adamv"))
