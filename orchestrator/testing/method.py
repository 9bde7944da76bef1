"""What every fine-tuning method promises, as tests on the small language model that comes with the package."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import ModelSettings, TrainingSettings
from orchestrator.spec.methods.entry import MethodEntry
from orchestrator.spec.options.declared import checked_options
from orchestrator.training.methods.contract.method import Method, MethodContext, trainable_parameters
from orchestrator.training.model.load import fresh_copy, load_model
from orchestrator.training.optimizers.build import make_optimizer

CONTEXT = MethodContext(steps=4, seed=1, effective_batch_size=4)
IDS = torch.arange(4, 36).reshape(4, 8)


class MethodContract:
    """Override `method`; pytest runs the rest.

    Attributes:
        learning_rate: A rate at which four steps change something.
    """

    learning_rate: float = 1e-2

    def method(self) -> tuple[type[Method], Mapping[str, object]]:
        """Return the class and some of its options; override it."""
        raise NotImplementedError

    # -- what the tests are made of ---------------------------------------------------------------

    def entry(self) -> MethodEntry:
        """Return the entry that the class carries."""
        found = getattr(self.method()[0], "entry", None)
        assert isinstance(found, MethodEntry), "a method carries a MethodEntry: put @entry(MethodEntry(...)) above it"
        return found

    def build(self) -> Method:
        """Return a fresh method with all its options, as a trial builds it."""
        kind, given = self.method()
        entry = self.entry()
        return kind("contract", {**entry.all_defaults, **checked_options(entry.options, given, "contract")})

    def wrap(self, method: Method) -> nn.Module:
        """Return a base model that the method has wrapped."""
        base = load_model(ModelSettings("testbed"), TrainingSettings(), torch.device("cpu"))
        return method.wrap_model(fresh_copy(base, torch.device("cpu")), CONTEXT)

    def train(self, method: Method, model: nn.Module, steps: int) -> None:
        """Take optimizer steps on a fixed batch."""
        config = TrialConfig("contract", 4, self.learning_rate, 16)
        optimizer = make_optimizer(method, model, config)
        model.train()
        for _ in range(steps):
            loss = model(input_ids=IDS, labels=IDS).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    # -- the promises -----------------------------------------------------------------------------

    def test_something_trains_and_not_what_is_frozen(self) -> None:
        """Steps change trainable parameters and leave the others as they were, bit for bit."""
        method = self.build()
        model = self.wrap(method)
        trained = set(trainable_parameters(model))
        assert trained, "no parameter requires a gradient"
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        self.train(method, model, 2)
        moved = {n for n, parameter in model.named_parameters() if not torch.equal(parameter.detach(), before[n])}
        assert moved, "two steps changed nothing"
        assert moved <= trained, f"frozen parameters moved: {sorted(moved - trained)[:3]}"

    def test_every_trained_parameter_is_in_one_group(self) -> None:
        """`make_optimizer` refuses groups that lack a parameter or hold one twice."""
        method = self.build()
        model = self.wrap(method)
        groups = method.param_groups(model, self.learning_rate, 0.1)
        held = [id(parameter) for group in groups for parameter in group["params"]]
        assert sorted(held) == sorted(id(parameter) for parameter in trainable_parameters(model).values())

    def test_the_same_seed_gives_the_same_start(self) -> None:
        """A trial that is begun again starts from the same weights."""
        first, second = self.wrap(self.build()), self.wrap(self.build())
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))

    def test_it_starts_where_its_entry_says(self) -> None:
        """With ``starts=True`` the untrained method computes what the base model does."""
        if not self.entry().starts:
            return
        base = load_model(ModelSettings("testbed"), TrainingSettings(), torch.device("cpu")).eval()
        wrapped = self.wrap(self.build()).eval()
        with torch.no_grad():
            assert torch.allclose(wrapped(input_ids=IDS).logits, base(input_ids=IDS).logits, atol=1e-4)

    def test_a_checkpoint_holds_all_that_was_trained(self) -> None:
        """What `trainable_state` gives, put into a fresh model, computes the same."""
        method = self.build()
        model = self.wrap(method)
        self.train(method, model, 2)
        state = {name: tensor.clone() for name, tensor in method.trainable_state(model).items()}
        other = self.build()
        again = self.wrap(other)
        other.load_trainable_state(again, state)
        with torch.no_grad():
            assert torch.equal(again.eval()(input_ids=IDS).logits, model.eval()(input_ids=IDS).logits)
