"""Every method, and every known-good configuration of peft, through the whole life of a trial."""

import copy

import peft
import pytest
import torch

from orchestrator.spec.methods.catalogue import METHODS as CATALOGUE
from tests.worlds.methods_support import LENGTH, ROWS, Run, base_logits, tiny_llama

NEEDED = {"alora": {"alora_invocation_tokens": [5, 6]}}
VARIANTS = {
    "lora gaussian": ("lora", {"init_lora_weights": "gaussian"}),
    "lora orthogonal": ("lora", {"init_lora_weights": "orthogonal"}),
    "lora fast pissa": ("lora", {"init_lora_weights": "pissa_niter_4"}),
    "lora biases": ("lora", {"bias": "all"}),
    "lora tokens": ("lora", {"trainable_token_indices": [1, 2, 3]}),
    "lora upper layers": ("lora", {"layers_to_transform": [1]}),
    "lora dropout": ("lora", {"lora_dropout": 0.1, "rank_pattern": {"q_proj": 4}}),
    "corda kpm": ("corda", {"corda_config": {"corda_method": "kpm"}}),
    "velora once": ("velora", {"velora_config": {"init_type": "batch_average_once"}}),
    "monteclora buffered": ("monteclora", {"monteclora_config": {"buffer_size": 4}}),
    "prefix projection": ("prefix_tuning", {"prefix_projection": True}),
    "prefix zero": ("prefix_tuning", {"init_weights": "zero"}),
    "oft rank": ("oft", {"r": 8, "use_cayley_neumann": False}),
    "boft blocks": ("boft", {"boft_block_num": 8}),
    "pvera generator": ("pvera", {"generator_seed": 1}),
    "poly tasks": ("poly", {"n_tasks": 3}),
    "mpt tasks": ("multitask_prompt_tuning", {"num_tasks": 3}),
    "cpt tokens": ("cpt", {"cpt_token_ids": [3, 4, 5]}),
    "miss mini": ("miss", {"init_weights": "mini"}),
}
CASES = {name: (name, NEEDED.get(name, {})) for name in CATALOGUE} | VARIANTS
NOT_ITS_OWN_WEIGHTS = {"full", "freeze_lower", "llrd"}


@pytest.mark.parametrize("case", CASES)
def test_method_trains_reloads_generates_and_merges(case, tmp_path):
    name, options = CASES[case]
    info = CATALOGUE[name]
    run = Run.start(name, options)
    frozen = {n: p.detach().clone() for n, p in run.model.named_parameters() if not p.requires_grad}
    difference = (run.logits() - base_logits()).abs().max().item()
    # the base's own logits have a spread of about 0.2, so the methods that do not start there stand out
    assert (difference < 1e-4) == info.starts_at_base, difference

    losses = run.step(0, 2)
    state = {key: value.clone() for key, value in run.method.trainable_state(run.model).items()}
    other = Run.start(name, options)
    other.method.load_trainable_state(other.model, state)
    assert torch.equal(run.logits(), other.logits())
    mismatched = [k for k, v in run.model.state_dict().items() if not torch.equal(v, other.model.state_dict()[k])]
    assert mismatched == []
    other.optimizer.load_state_dict(copy.deepcopy(run.optimizer.state_dict()))
    assert run.step(2, 4) == other.step(2, 4), "resumed training differs"
    assert all(torch.isfinite(torch.tensor(losses)))
    moved = [n for n, p in run.model.named_parameters() if n in frozen and not torch.equal(p, frozen[n])]
    assert moved == []

    _check_generation(run)
    _check_finalize(run, info, tmp_path)


def _check_generation(run):
    prompt = run.batch["input_ids"][:, :8]
    made = run.model.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=2,
        do_sample=False,
        pad_token_id=0,
        **run.method.forward_kwargs(run.batch),
    )
    assert made.shape[0] == ROWS
    assert made.shape[1] <= 10 < LENGTH


def _check_finalize(run, info, folder):
    before = run.logits()
    final = run.method.finalize(run.model)
    if info.merges and info.name not in NOT_ITS_OWN_WEIGHTS:
        assert type(final) is type(tiny_llama())
        assert {name for name, _ in final.named_parameters()} == {name for name, _ in tiny_llama().named_parameters()}
        assert (run.logits(final) - before).abs().max() < 1e-5
    else:
        assert final is run.model
    if info.peft_config and not info.merges:
        final.save_pretrained(folder)
        arguments = {key: run.batch[key] for key in ("input_ids", "attention_mask")} | run.method.forward_kwargs(
            run.batch
        )
        loaded = peft.PeftModel.from_pretrained(tiny_llama(), folder).eval()
        with torch.no_grad():
            assert (loaded(**arguments).logits[:, -LENGTH:] - before).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["lora", "vera", "prompt_tuning", "shira", "monteclora", "c3a"])
def test_same_seed_gives_the_same_adapter_and_leaves_the_random_state_alone(name):
    torch.manual_seed(11)
    expected = torch.rand(1)
    base = tiny_llama()
    torch.manual_seed(11)
    first = Run.start(name, model=base)
    assert torch.equal(torch.rand(1), expected)
    second = Run.start(name)
    for key, value in first.method.trainable_state(first.model).items():
        assert torch.equal(value, second.method.trainable_state(second.model)[key])
