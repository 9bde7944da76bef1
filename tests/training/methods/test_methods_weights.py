"""full, freeze_lower, llrd and bitfit: exact invariants."""

import pytest
import torch

from orchestrator.errors import CheckpointError, ModelError, SpecError
from orchestrator.training.methods import build_method
from tests.worlds.methods_support import CONTEXT, Run, base_logits, tiny_llama


def weights(run):
    return {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}


def test_full_groups_follow_the_rule_of_transformers_trainer():
    from transformers import Trainer

    model = tiny_llama()
    decayed = set(Trainer.get_decay_parameter_names(None, model))
    groups = build_method("full").param_groups(model, 1e-3, 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(p)] for group in groups for p in group["params"] if group["weight_decay"] == 0.1}
    assert found == decayed
    assert sum(len(group["params"]) for group in groups) == len(names)


def test_llrd_without_decay_is_full_fine_tuning():
    full, layerwise = Run.start("full"), Run.start("llrd", {"decay": 1.0})
    assert full.step(0, 3) == layerwise.step(0, 3)
    assert all(torch.equal(value, weights(layerwise)[name]) for name, value in weights(full).items())


@pytest.mark.parametrize("tied", [False, True])
def test_llrd_learning_rates_are_geometric(tied):
    model = tiny_llama(tied=tied, layers=3)
    groups = build_method("llrd", {"decay": 0.5}).param_groups(model, 1e-3, 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    scales = {names[id(p)]: group["learning_rate_scale"] for group in groups for p in group["params"]}
    assert scales["model.embed_tokens.weight"] == 0.125
    for depth, scale in enumerate([0.25, 0.5, 1.0]):
        assert {s for name, s in scales.items() if f"layers.{depth}." in name} == {scale}
    assert scales["model.norm.weight"] == 1.0
    assert scales.get("lm_head.weight", 1.0) == 1.0
    assert set(scales) == set(names.values())


@pytest.mark.parametrize(("options", "frozen"), [({"layers": 2}, 2), ({"share": 0.25}, 1), ({"layers": 0}, 0)])
def test_freeze_lower_stops_the_backward_below(options, frozen):
    run = Run.start("freeze_lower", options, model=tiny_llama(layers=4))
    before = weights(run)
    inputs = []
    for block in run.model.model.layers:
        block.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0].requires_grad))
    run.model(input_ids=run.batch["input_ids"], labels=run.batch["labels"]).loss.backward()
    assert inputs == [depth > frozen for depth in range(4)]
    with_gradient = {name for name, parameter in run.model.named_parameters() if parameter.grad is not None}
    assert not any(name.startswith("model.embed_tokens") for name in with_gradient)
    assert {int(name.split(".")[2]) for name in with_gradient if ".layers." in name} == set(range(frozen, 4))
    run.optimizer.step()
    after = weights(run)
    assert {name for name in before if not torch.equal(before[name], after[name])} == with_gradient


def test_freeze_lower_refuses_more_layers_than_there_are():
    with pytest.raises(SpecError, match="at most 2"):
        build_method("freeze_lower", {"layers": 3}).wrap_model(tiny_llama(), CONTEXT)


def test_bitfit_starts_at_the_base_and_is_an_ordinary_checkpoint(tmp_path):
    from transformers import AutoModelForCausalLM

    run = Run.start("bitfit")
    assert torch.equal(run.logits(), base_logits())
    before = weights(run)
    run.step(0, 2)
    moved = {name for name, value in weights(run).items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.endswith("bias") for name in moved)
    run.method.finalize(run.model).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(run.logits(loaded), run.logits())


def test_bitfit_without_biases_says_what_to_do():
    with pytest.raises(ModelError, match="add_biases to true"):
        build_method("bitfit", {"add_biases": False}).wrap_model(tiny_llama(), CONTEXT)


def test_state_of_another_method_is_refused():
    lora, full = Run.start("lora"), Run.start("full")
    with pytest.raises(CheckpointError, match="'lora' does not fit"):
        lora.method.load_trainable_state(lora.model, full.method.trainable_state(full.model))
    small = Run.start("lora", {"r": 4})
    with pytest.raises(CheckpointError, match="shape"):
        lora.method.load_trainable_state(lora.model, small.method.trainable_state(small.model))
