import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.training.loop.batches import pad_rows
from orchestrator.training.loop.fused_loss import LogitShape, fused_cross_entropy_sum
from orchestrator.training.loop.loss import make_answer_loss
from orchestrator.training.methods import MethodContext, build_method
from tests.worlds.trial_world import VOCABULARY, MemoryRows, tiny_model

ARCHITECTURES = {
    "Llama": ({}, "fused"),
    "Qwen2": ({}, "fused"),
    "Granite": ({"logits_scaling": 4.0}, "fused"),
    "Gemma2": ({"final_logit_softcapping": 0.5, "head_dim": 8}, "fused"),
    "GPTNeoX": ({}, "fused"),
    "Cohere": ({"logit_scale": 0.25}, "fused"),
    "GPT2": ({}, "fused"),
    "OPT": ({"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0}, "fused"),
}


def reference(model, batch, **extra):
    output = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False, **extra)
    logits = output.logits[:, -batch.labels.shape[1] :].float()
    flat, labels = logits[:, :-1].reshape(-1, logits.shape[-1]), batch.labels[:, 1:].reshape(-1)
    return torch.nn.functional.cross_entropy(flat, labels, ignore_index=-100, reduction="sum")


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_loss_and_gradients(model, answer_loss, batch):
    expected = reference(model, batch)
    wanted = gradients(model, expected)
    found = answer_loss.sum(batch)
    assert found.item() == pytest.approx(expected.item(), rel=2e-6)
    given = gradients(model, found)
    assert given.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(given[name], gradient, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_answer_loss_equals_the_models_own_logits(architecture):
    changes, path = ARCHITECTURES[architecture]
    model = tiny_model(architecture, **changes).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    answer_loss = make_answer_loss(model, chunk_tokens=16, full_logits=False, keep_mask=False)
    assert answer_loss.path == path
    assert answer_loss.drop_mask
    assert_same_loss_and_gradients(model, answer_loss, pad_rows(MemoryRows(6), range(6), 0))


def test_answer_loss_of_an_unknown_head_takes_the_models_own_logits():
    model = tiny_model()
    plain = model.lm_head

    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = plain

        def forward(self, hidden):
            return self.inner(hidden).sin()

    model.set_output_embeddings(Odd())
    answer_loss = make_answer_loss(model, chunk_tokens=16, full_logits=False, keep_mask=False)
    assert answer_loss.path == "selected"
    assert_same_loss_and_gradients(model, answer_loss, pad_rows(MemoryRows(6), range(6), 0))


def test_answer_loss_sees_through_a_config_that_lies_about_logits():
    model = tiny_model("Llama")
    model.config.final_logit_softcapping = 0.1  # Llama does not cap, whatever its config says
    answer_loss = make_answer_loss(model, chunk_tokens=16, full_logits=False, keep_mask=False)
    assert answer_loss.path == "selected"
    assert_same_loss_and_gradients(model, answer_loss, pad_rows(MemoryRows(6), range(6), 0))


@pytest.mark.parametrize(
    ("method", "options", "path"),
    [
        ("lora", {"r": 2}, "fused"),
        ("lora", {"r": 2, "target_modules": ["q_proj", "lm_head"]}, "selected"),
        ("lora", {"r": 2, "target_modules": ["q_proj", "embed_tokens"]}, "fused"),
        ("lora", {"r": 2, "modules_to_save": ["lm_head"]}, "selected"),
        ("prompt_tuning", {"num_virtual_tokens": 3}, "full"),
        ("prefix_tuning", {"num_virtual_tokens": 3}, "full"),
    ],
)
def test_answer_loss_of_adapted_models_equals_their_own_logits(method, options, path):
    method = build_method(method, options)
    model = method.wrap_model(tiny_model(), MethodContext(steps=10)).train()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    answer_loss = make_answer_loss(
        model, chunk_tokens=16, full_logits=bool(method.uses_full_logits), keep_mask=not method.allows_packing
    )
    assert answer_loss.path == path
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    assert_same_loss_and_gradients(model, answer_loss, pad_rows(MemoryRows(6), range(6), 0))


def test_make_answer_loss_leaves_model_and_random_numbers_as_they_were():
    model = tiny_model().train()
    model.model.layers[0].eval()
    before = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    make_answer_loss(model, chunk_tokens=16, full_logits=False, keep_mask=False)
    assert [module.training for module in model.modules()] == before
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.lm_head._forward_pre_hooks


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 40),
    st.integers(1, 50),
    st.sampled_from([1.0, 0.25, 3.0]),
    st.sampled_from([None, 0.5, 30.0]),
    st.booleans(),
)
def test_fused_cross_entropy_does_not_depend_on_chunks(tokens, chunk, scale, softcap, with_bias):
    torch.manual_seed(tokens)
    hidden = torch.randn(tokens, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(VOCABULARY, 8, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(VOCABULARY, dtype=torch.float64, requires_grad=True) if with_bias else None
    targets = torch.randint(0, VOCABULARY, (tokens,))
    shape = LogitShape(scale, softcap)
    inputs = [tensor for tensor in (hidden, weight, bias) if tensor is not None]
    logits = shape.apply(torch.nn.functional.linear(hidden, weight, bias))
    plain = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    fused = fused_cross_entropy_sum(hidden, weight, bias, targets, chunk_tokens=chunk, shape=shape)
    assert fused.item() == pytest.approx(plain.item(), rel=1e-5, abs=1e-4)
    wanted = torch.autograd.grad(plain * 0.3, inputs)
    found = torch.autograd.grad(fused * 0.3, inputs)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_fused_cross_entropy_of_frozen_weights_gives_no_weight_gradient():
    hidden = torch.randn(5, 8, requires_grad=True)
    weight = torch.randn(VOCABULARY, 8)
    loss = fused_cross_entropy_sum(hidden, weight, None, torch.arange(5), chunk_tokens=2, shape=LogitShape())
    loss.backward()
    assert weight.grad is None
    assert np.isfinite(hidden.grad.numpy()).all()
