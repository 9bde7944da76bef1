"""Reading the structure of a causal language model: blocks, embeddings, linear layers by role."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from orchestrator.errors import ModelError

ROLES: dict[str, tuple[str, ...]] = {
    "query": ("q_proj", "query", "wq", "q", "query_key_value", "qkv_proj", "c_attn"),
    "key": ("k_proj", "key", "wk", "k", "query_key_value", "qkv_proj", "c_attn"),
    "value": ("v_proj", "value", "wv", "v", "query_key_value", "qkv_proj", "c_attn"),
    "output": ("o_proj", "out_proj", "dense", "wo"),
    "down": ("down_proj", "fc2", "dense_4h_to_h", "w2", "mlp.c_proj"),
}
"""Role to the names of its linear layer in known architectures; the first that exists is taken."""


@dataclass(frozen=True)
class Linear:
    """Name and size of one linear layer."""

    name: str
    inputs: int
    outputs: int


def decoder_blocks(model: nn.Module) -> nn.ModuleList:
    """Return the transformer blocks, from the input upwards.

    Raises:
        ModelError: If no list of blocks as long as the model is deep can be found.
    """
    depth = getattr(getattr(model, "config", None), "num_hidden_layers", None)
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == depth]
    if not lists:
        raise ModelError("model", "", type(model).__name__, f"has no list of {depth} blocks that could be told apart")
    return lists[0]


def embedding_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of all embeddings outside the blocks (token and learned position embeddings)."""
    inside = {id(module) for module in decoder_blocks(model).modules()}
    return [
        parameter
        for module in model.modules()
        if isinstance(module, nn.Embedding) and id(module) not in inside
        for parameter in module.parameters()
    ]


def linears(model: nn.Module) -> list[Linear]:
    """Return every linear layer except the output layer."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    found = []
    for name, module in model.named_modules():
        if module is head:
            continue
        if isinstance(module, nn.Linear):
            found.append(Linear(name, module.in_features, module.out_features))
        elif type(module).__name__ == "Conv1D":  # GPT-2's linear layer, weight of shape (inputs, outputs)
            weight = module.weight
            assert isinstance(weight, Tensor), "a Conv1D has a weight"
            found.append(Linear(name, weight.shape[0], weight.shape[1]))
    return found


def resolve_targets(model: nn.Module, targets: str | Sequence[str]) -> str | list[str]:
    """Turn a target word (``all-linear``, ``query-value``, ...) into module names; leave anything else alone.

    Raises:
        ModelError: If the architecture has no module for the word.
    """
    if not isinstance(targets, str):
        return list(targets)
    if targets == "all-linear":
        return _or_fail(targets, sorted({layer.name.rpartition(".")[2] for layer in linears(model)}))
    if targets == "norms":
        kinds = (module_name for module_name, module in model.named_modules() if type(module).__name__.endswith("Norm"))
        return _or_fail(targets, sorted({name.rpartition(".")[2] for name in kinds}))
    if targets == "embeddings":
        embedding = getattr(model, "get_input_embeddings", lambda: None)()
        return _or_fail(targets, [n.rpartition(".")[2] for n, module in model.named_modules() if module is embedding])
    if set(targets.split("-")) <= ROLES.keys():
        names = [name for role in targets.split("-") for name in _role(model, role)]
        return _or_fail(targets, sorted(set(names)))
    return targets


def role_modules(model: nn.Module, roles: Iterable[str]) -> list[str]:
    """Return the module names that play the roles in this model; empty where none does."""
    return sorted({name for role in roles for name in _role(model, role)})


def targeted(model: nn.Module, targets: str | Sequence[str] | None) -> list[Linear]:
    """Return the linear layers that a resolved ``target_modules`` matches; all of them for a pattern."""
    every = linears(model)
    if targets is None or isinstance(targets, str):
        return every
    chosen = [t for t in every if any(t.name == name or t.name.endswith(f".{name}") for name in targets)]
    return chosen or every


def largest_divisor(number: int, limit: int, multiple_of: int = 1) -> int:
    """Return the largest divisor of ``number`` that is at most ``limit`` and a multiple of ``multiple_of`` (else 1)."""
    fitting = (d for d in range(min(number, limit), 0, -1) if number % d == 0 and d % multiple_of == 0)
    return next(fitting, 1)


def common_divisor(sizes: Iterable[int]) -> int:
    """Return the greatest common divisor of the sizes."""
    return math.gcd(*sizes)


def _role(model: nn.Module, role: str) -> list[str]:
    every = linears(model)
    for name in ROLES[role]:
        if any(layer.name.endswith(f".{name}") for layer in every):
            return [name]
    return []


def _or_fail(word: str, names: list[str]) -> list[str]:
    if not names:
        raise ModelError(
            "model", "target_modules", word, "has no match in this architecture", "name the modules yourself"
        )
    return names
