"""Biases only, which many models must be given first."""

from __future__ import annotations

import copy

import torch
from torch import nn

from orchestrator.errors import ModelError
from orchestrator.spec.methods.weights import BitFitOptions
from orchestrator.spec.options.declared import as_dataclass
from orchestrator.training.methods.contract.method import Method, MethodContext


class BitFit(Method):
    """Biases only (Ben Zaken et al. 2022, arXiv 2106.10199).

    Models without biases (Llama and most recent ones) get zero-initialised ones where their config can
    declare them (``attention_bias``, ``mlp_bias``), so that training starts exactly at the base model
    and the result is an ordinary checkpoint of the same architecture. ``add_biases: false`` trains only
    the biases that the model brings.
    """

    def wrap_model(self, model: nn.Module, context: MethodContext) -> nn.Module:
        """Add biases if asked, then let only biases train.

        Raises:
            ModelError: If there is no bias to train.
        """
        add_biases = as_dataclass(BitFitOptions, self.options).add_biases
        if add_biases:
            add_declared_biases(model)
        model.requires_grad_(False)
        biases = [parameter for name, parameter in model.named_parameters() if name.endswith("bias")]
        for parameter in biases:
            parameter.requires_grad_(True)
        if not biases:
            mend = "choose another method" if add_biases else "set bitfit.add_biases to true"
            raise ModelError("model", "method.bitfit", type(model).__name__, "has no biases to train", mend)
        return model


def add_declared_biases(model: nn.Module) -> list[str]:
    """Give linear layers the zero biases that the architecture can declare in its config; return their names.

    The truth is taken from the architecture itself: an empty twin is built from the config with the
    bias switches on, and exactly the biases that it has and the model lacks are added.
    """
    config = getattr(model, "config", None)
    switches = [name for name in ("attention_bias", "mlp_bias") if getattr(config, name, None) is False]
    if not switches:
        return []
    twin_config = copy.deepcopy(config)
    for name in switches:
        setattr(twin_config, name, True)
    with torch.device("meta"):
        twin: nn.Module = type(model)(twin_config)
    present = {name for name, _ in model.named_parameters()}
    wanted = [name for name, _ in twin.named_parameters() if name.endswith(".bias") and name not in present]
    for name in wanted:
        layer = model.get_submodule(name.removesuffix(".bias"))
        weight = layer.get_parameter("weight")
        layer.register_parameter("bias", nn.Parameter(weight.new_zeros(weight.shape[0])))
    for name in switches:
        setattr(config, name, True)
    return wanted
