"""One adapter for every peft method: options are the fields of peft's own config.

The untrained adapter depends on the trial's seed alone. peft is imported when a model is wrapped, so
that trials of other methods do not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from orchestrator.errors import CheckpointError, ModelError
from orchestrator.spec.methods.catalogue import method_entry, method_info
from orchestrator.spec.options.option import OptionInfo
from orchestrator.training.methods.adapters.installed_peft import config_class, nested_config
from orchestrator.training.methods.adapters.peft_sizes import Fit, Options, chosen_sizes, completed
from orchestrator.training.methods.contract.method import Method, MethodContext, copy_into, trainable_parameters
from orchestrator.training.methods.contract.structure import resolve_targets, targeted

if TYPE_CHECKING:
    from peft import PeftConfig
    from peft.tuners.tuners_utils import BaseTuner

EXTRA = "extra/"
"""Prefix of checkpoint entries that are neither parameters nor buffers."""

ADAPTER = "default"
"""peft's name of the one adapter of a trial."""


class PeftMethod(Method):
    """A method of peft, by its name in the catalogue."""

    needs_whole_model: ClassVar[bool] = False
    """Whether the adapter acts outside the decoder's linear layers and norms (prompts, hooks, routes)."""

    def __init__(self, name: str, options: Mapping[str, object] | None = None) -> None:
        super().__init__(name, options)
        self.info = method_info(name)
        self._own_options = method_entry(name).own_options.keys()
        self.uses_full_logits = self.needs_whole_model
        self.allows_packing = not self.needs_whole_model
        self._owned: frozenset[str] = frozenset()

    def wrap_model(self, model: nn.Module, context: MethodContext) -> nn.Module:
        """Put the adapter on the model (in place where peft works in place); only the adapter trains.

        Raises:
            ModelError: If peft refuses the combination of model and options, in its own words.
        """
        config = self.peft_config(model, context)
        base = list(_tensors(model).values())  # kept alive while wrapping, so that no id is used twice
        with seeded(context.seed), self._explained(model):
            wrapped = self.attach(model, config, context)
        known = {id(tensor) for tensor in base}
        self._owned = frozenset(name for name, tensor in _tensors(wrapped).items() if id(tensor) not in known)
        return wrapped

    def attach(self, model: nn.Module, config: PeftConfig, context: MethodContext) -> nn.Module:
        """Call peft; runs inside the trial's seed."""
        import peft

        wrapped: nn.Module = peft.get_peft_model(model, config)
        return wrapped

    def peft_config(self, model: nn.Module, context: MethodContext) -> PeftConfig:
        """Return peft's config object with open sizes chosen from the model."""
        options = {**self.info.fixed_options, **self.options}
        options = {name: value for name, value in options.items() if name not in self._own_options}
        targets = options.get("target_modules")
        if isinstance(targets, str | list | tuple):
            options["target_modules"] = targets = resolve_targets(model, targets)
        layers = targeted(model, targets if isinstance(targets, str | list) else None)
        options = completed(options, self.chosen_sizes(Fit(options, layers, model, context)))
        made = config_class(self.name, self.info.peft_config, options)
        with self._explained(model):
            arguments = {name: self._as_config(self.info.options.get(name), value) for name, value in options.items()}
            return made(task_type="CAUSAL_LM", **arguments)

    def chosen_sizes(self, fit: Fit) -> Options:
        """Return what peft wants given but depends on the model; what the user gave goes before it."""
        return chosen_sizes(fit, self.info.peft_config)

    def trainable_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return trainable parameters and everything else the adapter brought into the model.

        Frozen parts of an adapter (projections, factors of an SVD) belong to it: they need not come out
        the same on another machine.
        """
        return {**self._named_state(model), **self.extra_state(model)}

    @torch.no_grad()
    def load_trainable_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put `trainable_state` back.

        Raises:
            CheckpointError: If names or shapes do not belong to this model.
        """
        plain = {name: tensor for name, tensor in state.items() if not name.startswith(EXTRA)}
        copy_into(self._named_state(model), plain, self.name)
        self.load_extra_state(model, {n.removeprefix(EXTRA): t for n, t in state.items() if n.startswith(EXTRA)})

    def extra_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return state that peft keeps outside parameters and buffers, names starting with `EXTRA`."""
        return {}

    def load_extra_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put `extra_state` (names without prefix) back."""
        if state:
            raise CheckpointError(f"checkpoint of method {self.name!r} holds unknown state: {sorted(state)[:3]}")

    def finalize(self, model: nn.Module) -> nn.Module:
        """Return the base architecture with the adapter merged in, or the peft model where it cannot merge."""
        if not self.info.merges or self.options.get("lora_bias"):
            return model
        merge: Callable[[], nn.Module] = getattr(model, "merge_and_unload")  # noqa: B009
        return merge()

    def _as_config(self, option: OptionInfo | None, value: object) -> object:
        """Turn a mapping into peft's nested config object where the option is one."""
        if option is None or not isinstance(value, Mapping) or "object" not in option.kinds:
            return value
        return nested_config(self.name, option.fields, value)

    def _named_state(self, model: nn.Module) -> dict[str, Tensor]:
        owned = {name: tensor.detach() for name, tensor in _tensors(model).items() if name in self._owned}
        return {**{name: tensor.detach() for name, tensor in trainable_parameters(model).items()}, **owned}

    @contextmanager
    def _explained(self, model: nn.Module) -> Iterator[None]:
        """Turn peft's refusals into one clear error."""
        try:
            yield
        except ModelError:
            raise
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            NotImplementedError,
            IndexError,
            RuntimeError,
        ) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            rule = f"peft cannot put it on a {type(model).__name__}: {error}"
            raise ModelError("method", self.name, self.options or None, rule.rstrip(".")) from error


def tuner_of(model: nn.Module) -> BaseTuner:
    """Return peft's own object inside a wrapped model, which does the method's work."""
    return model.base_model


def under(state: Mapping[str, Tensor], prefix: str) -> list[tuple[str, Tensor]]:
    """Return the entries whose name starts with ``prefix/``, without it."""
    return [
        (name.removeprefix(f"{prefix}/"), tensor) for name, tensor in state.items() if name.startswith(f"{prefix}/")
    ]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make torch's random numbers depend on ``seed`` inside, and untouched by it outside."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name, shared ones once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
