"""peft methods that need more than their config: auxiliary losses, routes, state outside the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from orchestrator.training.methods.adapters.peft_adapter import EXTRA, PeftMethod
from orchestrator.training.methods.contract.method import Batch

ADAPTER = "default"


class WholeModel(PeftMethod):
    """Prompts, prefixes and parallel networks: the model is called as a whole, one sample per row."""

    needs_whole_model: ClassVar[bool] = True


class TaskRouted(WholeModel):
    """``poly`` and ``multitask_prompt_tuning``: every row says its task; all rows are task 0 for now."""

    def forward_kwargs(self, batch: Batch) -> dict[str, Any]:
        """Return ``task_ids`` of shape (rows,)."""
        ids = batch["input_ids"]
        return {"task_ids": torch.zeros(ids.shape[0], dtype=torch.long, device=ids.device)}


class AdaLora(PeftMethod):
    """AdaLoRA (Zhang et al. 2023, arXiv 2303.10512): prunes singular values on a cubic budget schedule."""

    def auxiliary_loss(self, model: nn.Module, batch: Batch, step: int) -> Tensor | None:
        """Return the orthogonality term of equation 7, mean over factors, as peft adds it to the loss."""
        terms = [
            torch.linalg.matrix_norm(_gram(name, parameter) - torch.eye(min(parameter.shape), device=parameter.device))
            for name, parameter in model.named_parameters()
            if ("lora_A" in name or "lora_B" in name) and ADAPTER in name
        ]
        weight: float = _tuner(model).peft_config[ADAPTER].orth_reg_weight
        return weight * torch.stack(terms).mean() if terms else None

    def on_step(self, model: nn.Module, step: int) -> None:
        """Update importances from the gradients and mask what the budget of this step excludes."""
        _tuner(model).update_and_allocate(step)

    def extra_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the importance averages and, once final, the kept ranks."""
        allocator = _tuner(model).rankallocator
        averages = {
            f"{EXTRA}{kind}/{name}": tensor
            for kind in ("ipt", "exp_avg_ipt", "exp_avg_unc")
            for name, tensor in getattr(allocator, kind).items()
        }
        pattern = _tuner(model).peft_config[ADAPTER].rank_pattern or {}
        kept = {f"{EXTRA}rank_pattern/{name}": torch.tensor(ranks, dtype=torch.bool) for name, ranks in pattern.items()}
        return {**averages, **kept}

    def load_extra_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put the allocator back as it was."""
        allocator = _tuner(model).rankallocator
        device = next(model.parameters()).device
        for kind in ("ipt", "exp_avg_ipt", "exp_avg_unc"):
            setattr(allocator, kind, {name: tensor.to(device) for name, tensor in _under(state, kind)})
        pattern = {name: tensor.tolist() for name, tensor in _under(state, "rank_pattern")}
        _tuner(model).peft_config[ADAPTER].rank_pattern = pattern or None


class Kasa(PeftMethod):
    """KaSA (arXiv 2412.06071): adds the L2 and orthogonality terms that peft leaves to the caller."""

    def auxiliary_loss(self, model: nn.Module, batch: Batch, step: int) -> Tensor | None:
        """Return equations 9 to 12 of the paper, summed over layers, weighted by beta and gamma."""
        loss = _tuner(model)._get_kasa_loss()
        return loss if isinstance(loss, Tensor) else None


class MonteCLora(PeftMethod):
    """MonteCLoRA: samples factors around lora's; adds the variational term that peft leaves to the caller."""

    def auxiliary_loss(self, model: nn.Module, batch: Batch, step: int) -> Tensor | None:
        """Return the Kullback-Leibler (and entropy) term, mean over layers."""
        loss = _tuner(model)._get_monteclora_loss()
        return loss if isinstance(loss, Tensor) else None

    def extra_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return each layer's samples that were drawn ahead and not used yet."""
        state = {}
        for name, sampler in _buffered_samplers(model):
            state[f"{EXTRA}{name}/index"] = torch.tensor(sampler.index)
            for position in range(sampler.index, sampler.buffer_size):
                for key, tensor in sampler.buffer[position].items():
                    state[f"{EXTRA}{name}/{position}/{key}"] = tensor
        return state

    def load_extra_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put the unused samples back."""
        for name, sampler in _buffered_samplers(model):
            entries = dict(_under(state, name))
            sampler.index = int(entries.pop("index"))
            for key, tensor in entries.items():
                position, _, part = key.partition("/")
                sampler.buffer[int(position)][part].copy_(tensor)


class Velora(PeftMethod):
    """VeLoRA: the backward of the first factor sees compressed activations."""

    def extra_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return which layers have set their projection from data (matters for ``batch_average_once``)."""
        return {
            f"{EXTRA}{name}": torch.tensor(bool(module.lora_velora_initialized[ADAPTER]))
            for name, module in _velora_layers(model)
        }

    def load_extra_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put the flags back."""
        for name, module in _velora_layers(model):
            module.lora_velora_initialized[ADAPTER] = bool(state[name])


class Pvera(PeftMethod):
    """PVeRA: samples while training; a generator of its own (option ``generator_seed``) is state."""

    def extra_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the state of each layer's own generator, where it has one."""
        return {f"{EXTRA}{name}": generator.get_state() for name, generator in _own_generators(model)}

    def load_extra_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put the generators back."""
        for name, generator in _own_generators(model):
            generator.set_state(state[name].cpu())


class Shadow(WholeModel):
    """Shadow network; the auxiliary term trains the network's own prediction."""

    def auxiliary_loss(self, model: nn.Module, batch: Batch, step: int) -> Tensor | None:
        """Return the cross-entropy of the shadow path alone (token mean), weighted as in peft's forward."""
        tuner = _tuner(model)
        loss = tuner.shadow_auxiliary_loss(batch["labels"], attention_mask=batch.get("attention_mask"))
        weight: float = tuner.peft_config[ADAPTER].auxiliary_loss_weight
        return weight * loss if loss is not None and weight > 0 else None


def _tuner(model: nn.Module) -> Any:
    return model.base_model


def _gram(name: str, factor: Tensor) -> Tensor:
    return factor @ factor.T if "lora_A" in name else factor.T @ factor


def _under(state: Mapping[str, Tensor], prefix: str) -> list[tuple[str, Tensor]]:
    return [
        (name.removeprefix(f"{prefix}/"), tensor) for name, tensor in state.items() if name.startswith(f"{prefix}/")
    ]


def _buffered_samplers(model: nn.Module) -> list[tuple[str, Any]]:
    found = ((name, getattr(module, "sampler", None)) for name, module in model.named_modules())
    return [(name, sampler) for name, sampler in found if type(sampler).__name__ == "BufferedMontecloraSampler"]


def _velora_layers(model: nn.Module) -> list[tuple[str, Any]]:
    return [
        (name, module)
        for name, module in model.named_modules()
        if ADAPTER in getattr(module, "lora_velora_initialized", {})
    ]


def _own_generators(model: nn.Module) -> list[tuple[str, torch.Generator]]:
    found = ((name, getattr(module, "pvera_generator", {}).get(ADAPTER)) for name, module in model.named_modules())
    return [(name, generator) for name, generator in found if generator is not None]
