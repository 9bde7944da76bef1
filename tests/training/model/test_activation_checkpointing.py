"""Activation checkpointing is switched on under the name that the installed transformers has for it."""

from __future__ import annotations

import warnings
from typing import Any

import peft
import pytest
import torch
from torch import nn
from transformers import LlamaForCausalLM, PreTrainedModel

from orchestrator.training.model.activation_checkpointing import enable_activation_checkpointing
from tests.worlds.tiny_models import build_model

TOKENS = torch.arange(12).reshape(2, 6)


class Older(nn.Module):
    """A model as transformers 5.17 has them: the older name alone."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[str, Any]] = []

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any]) -> None:
        self.asked.append({"older": gradient_checkpointing_kwargs})


class Newer(Older):
    """A model as transformers 5.23 has them: both names."""

    def activation_checkpointing_enable(self, activation_checkpointing_kwargs: dict[str, Any]) -> None:
        self.asked.append({"newer": activation_checkpointing_kwargs})


@pytest.mark.parametrize(("model", "name"), [(Older(), "older"), (Newer(), "newer")])
def test_the_newest_name_that_a_model_has_is_called(model: Older, name: str) -> None:
    enable_activation_checkpointing(model)
    assert model.asked == [{name: {"use_reentrant": False}}]


def gradients(model: Any) -> dict[str, torch.Tensor]:
    model(input_ids=TOKENS, labels=TOKENS).loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def lora(model: LlamaForCausalLM) -> Any:
    torch.manual_seed(0)
    return peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))


@pytest.mark.parametrize("wrap", [lambda model: model, lora], ids=["model", "peft"])
def test_it_is_on_without_a_warning_and_gradients_are_the_same(wrap: Any) -> None:
    plain, saving = wrap(build_model()).train(), wrap(build_model()).train()
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        enable_activation_checkpointing(saving)
    inner: PreTrainedModel = saving.get_decoder()
    assert all(layer.gradient_checkpointing for layer in inner.layers)
    expected, found = gradients(plain), gradients(saving)
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)
