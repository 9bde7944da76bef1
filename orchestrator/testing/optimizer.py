"""What every optimizer promises, as tests."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.optim import Optimizer

from orchestrator.records import Scalar, TrialConfig
from orchestrator.spec.trial.optimizers import OptimizerEntry
from orchestrator.spec.trial.options import check_options

Build = Callable[..., Optimizer]


class OptimizerContract:
    """Override `optimizer`; pytest runs the rest.

    Attributes:
        learning_rate: A rate at which steps make a small linear model better.
    """

    learning_rate: float = 1e-2

    def optimizer(self) -> tuple[Build, Mapping[str, Scalar]]:
        """Return the function and some of its options; override it."""
        raise NotImplementedError

    # -- what the tests are made of ---------------------------------------------------------------

    def entry(self) -> OptimizerEntry:
        """Return the entry that the function carries."""
        found = getattr(self.optimizer()[0], "entry", None)
        assert isinstance(found, OptimizerEntry), "an optimizer carries an OptimizerEntry: put @entry(...) above it"
        return found

    def start(self) -> tuple[nn.Linear, Optimizer]:
        """Return a small model, the same each time, and its optimizer."""
        torch.manual_seed(0)
        model = nn.Linear(4, 2)
        groups = [
            {"params": [model.weight], "weight_decay": 0.1, "learning_rate_scale": 1.0},
            {"params": [model.bias], "weight_decay": 0.0, "learning_rate_scale": 0.5},
        ]
        build, given = self.optimizer()
        options = {**{name: option.default for name, option in self.entry().options.items()}, **given}
        optimizer = build(model, groups, TrialConfig("full", 4, self.learning_rate, 16), options)
        self.set_rate(optimizer, self.learning_rate)
        return model, optimizer

    def set_rate(self, optimizer: Optimizer, rate: float) -> None:
        """Set the rate as the training loop does."""
        for group in optimizer.param_groups:
            group["lr"] = rate * group["learning_rate_scale"]

    def loss(self, model: nn.Linear) -> torch.Tensor:
        """Return the loss on fixed rows."""
        rows = torch.linspace(-1, 1, 32).reshape(8, 4)
        difference: torch.Tensor = model(rows) - rows[:, :2]
        return difference.square().mean()

    def step(self, model: nn.Linear, optimizer: Optimizer, count: int) -> None:
        """Take steps."""
        for _ in range(count):
            torch.autograd.backward(self.loss(model))
            optimizer.step()
            optimizer.zero_grad()

    # -- the promises -----------------------------------------------------------------------------

    def test_its_options_keep_to_its_own_rules(self) -> None:
        """The given options are declared, and within bounds."""
        check_options("optimizer", "contract", self.optimizer()[1], self.entry().options)

    def test_groups_keep_their_keys(self) -> None:
        """The loop reads the scale of each group's rate and sets the rate itself."""
        _, optimizer = self.start()
        assert isinstance(optimizer, Optimizer)
        assert all({"learning_rate_scale", "weight_decay"} <= group.keys() for group in optimizer.param_groups)

    def test_steps_make_the_model_better(self) -> None:
        """Twenty steps lower a convex loss."""
        model, optimizer = self.start()
        before = float(self.loss(model).detach())
        self.step(model, optimizer, 20)
        assert float(self.loss(model).detach()) < before

    def test_a_rate_of_nought_changes_nothing(self) -> None:
        """A warm-up begins at 0, and the rate that the loop sets is the one that is used."""
        model, optimizer = self.start()
        before = copy.deepcopy(model.state_dict())
        self.set_rate(optimizer, 0.0)
        self.step(model, optimizer, 2)
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())

    def test_a_resumed_trial_goes_on_as_the_uninterrupted_one(self) -> None:
        """Everything that the next step needs stands in `state_dict`."""
        model, optimizer = self.start()
        self.step(model, optimizer, 3)
        weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
        self.step(model, optimizer, 3)
        other, resumed = self.start()
        other.load_state_dict(weights)
        resumed.load_state_dict(state)
        self.step(other, resumed, 3)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
