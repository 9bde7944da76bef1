"""What peft needs from its caller: losses, schedules, optimizers, sizes, errors."""

import copy

import pytest
import torch

from orchestrator.errors import ModelError
from orchestrator.training.methods import MethodContext, build_method
from orchestrator.training.methods.contract.structure import largest_divisor, resolve_targets
from tests.worlds.methods_support import CONTEXT, LEARNING_RATE, ROWS, Run, calibration, tiny_batch, tiny_llama


def peft_loss(run):
    return run.model(**run.batch, **run.method.forward_kwargs(run.batch)).loss


def plain_loss(run):
    logits = run.model(input_ids=run.batch["input_ids"], attention_mask=run.batch["attention_mask"]).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), run.batch["labels"][:, 1:].flatten())


@pytest.mark.parametrize("name", ["adalora", "shadow"])
def test_auxiliary_loss_is_what_peft_adds_to_the_cross_entropy(name):
    run = Run.start(name, {"shadow_dropout": 0.0} if name == "shadow" else {})
    run.step(0, 1)
    run.model.train()
    with_labels = peft_loss(run)
    auxiliary = run.method.auxiliary_loss(run.model, run.batch, 1)
    assert auxiliary is not None
    assert auxiliary.item() > 1e-3
    assert with_labels.item() == pytest.approx(plain_loss(run).item() + auxiliary.item(), abs=1e-5)


@pytest.mark.parametrize("name", ["kasa", "monteclora"])
def test_auxiliary_loss_reaches_the_adapter(name):
    run = Run.start(name)
    run.model.train()
    plain_loss(run)
    run.method.auxiliary_loss(run.model, run.batch, 0).backward()
    assert any(parameter.grad is not None for parameter in run.model.parameters())


def test_adalora_reaches_its_final_budget_and_resumes_at_any_step():
    context = MethodContext(steps=12, seed=0)
    run = Run.start("adalora", {"init_r": 6, "target_r": 2}, context=context)
    states = []
    for step in range(12):
        states.append({key: value.clone() for key, value in run.method.trainable_state(run.model).items()})
        optimizer = run.optimizer.state_dict()
        resumed = Run.start("adalora", {"init_r": 6, "target_r": 2}, context=context)
        resumed.method.load_trainable_state(resumed.model, states[-1])
        resumed.optimizer.load_state_dict(copy.deepcopy(optimizer))
        assert resumed.step(step, step + 1) == run.step(step, step + 1)
        assert torch.equal(resumed.logits(), run.logits())
    kept = [int((p != 0).sum()) for name, p in run.model.named_parameters() if "lora_E" in name]
    assert sum(kept) <= 2 * len(kept)


def test_riemannian_steps_equal_those_of_peft():
    from peft.optimizers import create_riemannian_optimizer

    ours, theirs = Run.start("lora_riemannian"), Run.start("lora")
    theirs.optimizer = create_riemannian_optimizer(
        theirs.model, torch.optim.AdamW, lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.1
    )
    assert ours.step(0, 4) == pytest.approx(theirs.step(0, 4), rel=1e-5)


def test_lora_fa_keeps_a_and_steps_as_peft_does():
    from peft.optimizers import create_lorafa_optimizer

    ours, theirs = Run.start("lora_fa"), Run.start("lora")
    theirs.optimizer = create_lorafa_optimizer(theirs.model, r=16, lora_alpha=32, lr=LEARNING_RATE)
    theirs.optimizer.param_groups[0]["betas"] = (0.9, 0.95)
    theirs.optimizer.param_groups[0]["weight_decay"] = 0.1
    before = {name: p.clone() for name, p in ours.model.named_parameters() if "lora_A" in name}
    # peft multiplies in bfloat16, hence the tolerance
    assert ours.step(0, 4) == pytest.approx(theirs.step(0, 4), rel=1e-2)
    assert all(torch.equal(p, before[name]) for name, p in ours.model.named_parameters() if "lora_A" in name)


def test_lora_plus_gives_b_a_larger_learning_rate():
    run = Run.start("lora_plus", {"learning_rate_ratio": 4})
    scale = {id(p): group["learning_rate_scale"] for group in run.optimizer.param_groups for p in group["params"]}
    assert {scale[id(p)] for name, p in run.model.named_parameters() if "lora_A" in name} == {1.0}
    assert {scale[id(p)] for name, p in run.model.named_parameters() if "lora_B" in name} == {4.0}


@pytest.mark.parametrize("word", ["all-linear", "query-value", "key-value-down", "value", "norms", "embeddings"])
def test_target_words_name_modules_of_the_architecture(word):
    found = resolve_targets(tiny_llama(), word)
    names = {name.rpartition(".")[2] for name, _ in tiny_llama().named_modules()}
    assert found
    assert set(found) <= names
    assert "lm_head" not in found


def test_gpt2_is_adapted_too():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=128, n_positions=32, n_embd=32, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2)
    for name in ("lora", "ia3", "freeze_lower", "llrd", "bitfit", "prompt_tuning"):
        run = Run.start(name, model=GPT2LMHeadModel(config))
        assert len(run.step(0, 2)) == 2


def test_peft_refusal_is_one_clear_error():
    with pytest.raises(ModelError, match=r"lora.*Target modules"):
        build_method("lora", {"target_modules": ["nowhere"]}).wrap_model(tiny_llama(), CONTEXT)
    with pytest.raises(ModelError, match=r"c3a.*block size"):
        build_method("c3a", {"block_size": 48}).wrap_model(tiny_llama(), CONTEXT)


def test_methods_that_start_from_data_ask_for_it():
    assert build_method("eva").needs_calibration
    with pytest.raises(ModelError, match="needs training samples"):
        build_method("eva").wrap_model(tiny_llama(), MethodContext(steps=1))
    with pytest.raises(ModelError, match="fewer than r x rho"):
        build_method("eva", {"calibration_samples": 1}).wrap_model(tiny_llama(), CONTEXT)


def test_calibration_changes_the_start_of_the_adapter():
    first = Run.start("lora_ga")
    shuffled = MethodContext(steps=8, seed=3, calibration_batches=lambda count: calibration(count)[:1])
    second = Run.start("lora_ga", context=shuffled)
    key = next(iter(first.method.trainable_state(first.model)))
    assert not torch.equal(
        first.method.trainable_state(first.model)[key], second.method.trainable_state(second.model)[key]
    )


def test_prompt_methods_say_how_they_must_be_called():
    for name in ("prompt_tuning", "prefix_tuning", "alora", "shadow", "poly"):
        method = build_method(name)
        assert method.uses_full_logits
        assert not method.allows_packing
    assert build_method("lora").allows_packing
    assert build_method("poly").forward_kwargs(tiny_batch())["task_ids"].tolist() == [0] * ROWS


def test_largest_divisor_respects_limit_and_multiple():
    assert largest_divisor(96, 40) == 32
    assert largest_divisor(96, 5, 2) == 4
    assert largest_divisor(7, 5, 2) == 1


def test_alora_wakes_at_the_tokens_that_open_an_answer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(["<unk>", "user", "assistant", ":", "?"])}
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner)
    tokenizer.chat_template = "user : {{ messages[0].content }}{% if add_generation_prompt %} assistant :{% endif %}"
    context = MethodContext(steps=1, tokenizer=tokenizer)
    model = build_method("alora").wrap_model(tiny_llama(), context)
    assert model.peft_config["default"].alora_invocation_tokens == [2, 3]
    with pytest.raises(ModelError, match="alora_invocation_tokens"):
        build_method("alora").wrap_model(tiny_llama(), CONTEXT)
