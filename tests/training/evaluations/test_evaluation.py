from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.data.token_cache import TokenisedData
from orchestrator.training.evaluations.contract.evaluation import ratio_with_error
from orchestrator.training.evaluations.contract.generation import GreedySettings, generate_greedy
from orchestrator.training.evaluations.exact_match.exact_match import last_answer, normalise_answer, split_answers
from orchestrator.training.evaluations.scoring.evaluator import AnswerTokens, Evaluator, Scores
from orchestrator.training.methods import MethodContext, build_method


def make_data(rows: int = 30, seed: int = 0, mask_share: float = 0.5) -> TokenisedData:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, 40, size=rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = rng.integers(5, 340, size=offsets[-1]).astype(np.int32)
    starts = np.repeat(offsets[:-1], lengths)
    places = np.arange(offsets[-1]) - starts
    is_answer = places >= np.maximum(1, np.repeat((lengths * mask_share).astype(int), lengths))
    return TokenisedData(ids, is_answer, offsets, "digest")


def make_evaluator(tokenizer: Any, *sets: PreparedSet) -> Evaluator:
    return Evaluator(sets, AnswerTokens(tokenizer, 0, frozenset({1, 3}), 128))


def row_losses(model: Any, data: TokenisedData) -> list[tuple[float, int]]:
    """Loss of each row alone, straight from the definition."""
    found = []
    for row in range(len(data)):
        ids, is_answer = data[row]
        tokens = torch.from_numpy(ids.astype(np.int64))
        with torch.no_grad():
            logits = model(tokens.unsqueeze(0)).logits[0, :-1]
        losses = functional.cross_entropy(logits, tokens[1:], reduction="none")[torch.from_numpy(is_answer[1:].copy())]
        found.append((float(losses.sum()), len(losses)))
    return found


def test_loss_is_the_token_mean_over_answers(model: Any, tokenizer: Any) -> None:
    data = make_data()
    scores = make_evaluator(tokenizer, PreparedSet(EvaluationSet("e"), data, {})).evaluate(model)
    expected = row_losses(model, data)
    assert scores.values["e/loss"] == pytest.approx(sum(s for s, _ in expected) / sum(n for _, n in expected), rel=1e-5)
    np.testing.assert_allclose(scores.row_losses["e"], [s for s, _ in expected], rtol=1e-4)
    assert 0 < scores.standard_errors["e/loss"] < 1
    assert Scores(**scores.as_dict()) == scores


def test_forgetting_is_the_paired_difference_to_the_base(model: Any, tokenizer: Any) -> None:
    evaluator = make_evaluator(tokenizer, PreparedSet(EvaluationSet("t", "text_loss"), make_data(mask_share=0), {}))
    base = evaluator.evaluate(model)
    assert "t/forgetting" not in base.values
    same = evaluator.evaluate(model, base=base)
    assert (same.values["t/forgetting"], same.standard_errors["t/forgetting"]) == (0.0, 0.0)
    with torch.no_grad():
        model.model.norm.weight.mul_(1.05)
    moved = evaluator.evaluate(model, base=base)
    assert moved.values["t/forgetting"] == pytest.approx(moved.values["t/loss"] - base.values["t/loss"])
    assert moved.standard_errors["t/forgetting"] < moved.standard_errors["t/loss"]


def test_sets_for_the_end_wait_for_the_end(model: Any, tokenizer: Any) -> None:
    sets = [
        PreparedSet(EvaluationSet(name, when=when), make_data(4), {})
        for name, when in (("a", "milestones"), ("b", "end"))
    ]
    evaluator = make_evaluator(tokenizer, *sets)
    assert set(evaluator.evaluate(model, final=False).values) == {"a/loss"}
    assert set(evaluator.evaluate(model, final=True).values) == {"a/loss", "b/loss"}


@pytest.mark.parametrize("name", ["full", "lora", "prompt_tuning", "prefix_tuning"])
def test_every_kind_of_method_is_scored_by_its_own_logits(model: Any, tokenizer: Any, name: str) -> None:
    method = build_method(name)
    torch.manual_seed(0)
    wrapped = method.wrap_model(model, MethodContext(steps=1))
    wrapped.eval()
    data = make_data(12)
    entries = [
        PreparedSet(EvaluationSet("e"), data, {}),
        PreparedSet(EvaluationSet("m", "exact_match", max_new_tokens=4), data, {}),
    ]
    scores = make_evaluator(tokenizer, *entries).evaluate(wrapped, method)
    sums = []
    for row in range(len(data)):
        ids, is_answer = data[row]
        tokens = torch.from_numpy(ids.astype(np.int64)).unsqueeze(0)
        with torch.no_grad():
            logits = wrapped(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[0, -len(ids) :]
        losses = functional.cross_entropy(logits[:-1], tokens[0, 1:], reduction="none")
        sums.append(float(losses[torch.from_numpy(is_answer[1:].copy())].sum()))
    np.testing.assert_allclose(scores.row_losses["e"], sums, rtol=1e-4)
    assert "m/exact_match" in scores.values


def test_evaluation_leaves_no_trace(model: Any, tokenizer: Any) -> None:
    sets = [
        PreparedSet(EvaluationSet("e"), make_data(5), {}),
        PreparedSet(EvaluationSet("m", "exact_match"), make_data(5), {}),
    ]
    model.train()
    model.model.norm.eval()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    make_evaluator(tokenizer, *sets).evaluate(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not model.model.norm.training
    assert torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in model.parameters())
    ids = torch.arange(5, 12).unsqueeze(0)
    model(input_ids=ids, labels=ids).loss.backward()


def test_exact_match_counts_answers_that_the_model_gives(model: Any, tokenizer: Any) -> None:
    """Half of the references are the model's own greedy answers, so that the score must be a half."""
    rng = np.random.default_rng(0)
    prompts = [rng.integers(5, 340, size=n).astype(np.int32) for n in rng.integers(3, 20, size=16)]
    given = generate_greedy(model, prompts, GreedySettings(frozenset({1, 3}), 0, 5, 128))
    rows, masks = [], []
    for number, (prompt, answer) in enumerate(zip(prompts, given, strict=True)):
        reference = [*answer, 3] if number % 2 else [*tokenizer("  cat dog zebra  ")["input_ids"], 3]
        rows.append(np.concatenate([prompt, np.asarray(reference, dtype=np.int32)]))
        masks.append(np.arange(len(rows[-1])) >= len(prompt))
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    data = TokenisedData(np.concatenate(rows), np.concatenate(masks), offsets, "d")
    entry = PreparedSet(EvaluationSet("m", "exact_match", max_new_tokens=5), data, {})
    evaluator = make_evaluator(tokenizer, entry)
    scores = evaluator.evaluate(model)
    assert scores.values["m/exact_match"] == 0.5
    assert scores.standard_errors["m/exact_match"] == pytest.approx(math.sqrt(0.25 / 15))
    assert normalise_answer(tokenizer.decode(split_answers(entry)[0][1], skip_special_tokens=True)) == "cat dog zebra"


@pytest.mark.parametrize("budget", [30, 16_384])
def test_generate_greedy_equals_the_models_own_generation_row_by_row(model: Any, budget: int) -> None:
    rng = np.random.default_rng(1)
    prompts = [rng.integers(5, 340, size=n).astype(np.int32) for n in rng.integers(1, 25, size=20)]
    # Frequent stop tokens, so that rows finish at different steps and leave the batch.
    settings = GreedySettings(frozenset(range(1, 384, 4)), 0, 12, 128, budget)
    found = generate_greedy(model, prompts, settings)
    assert found == generate_greedy(model, prompts, settings, own_loop=False)
    assert len({len(answer) for answer in found}) > 2
    for prompt, answer in zip(prompts, found, strict=True):
        ids = torch.from_numpy(prompt.astype(np.int64)).unsqueeze(0)
        alone: list[int] = []
        while len(alone) < 12:
            with torch.no_grad():
                token = int(model(ids).logits[0, -1].argmax())
            if token in settings.stop_ids:
                break
            alone.append(token)
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
        assert answer == alone


def test_generate_greedy_stays_within_the_models_length(model: Any) -> None:
    prompts = [np.arange(5, 5 + n, dtype=np.int32) for n in (128, 126, 10)]
    settings = GreedySettings(frozenset(), 0, 8, 128, token_budget=1)
    assert [len(answer) for answer in generate_greedy(model, prompts, settings)] == [0, 2, 8]


def test_ratio_with_error_matches_the_bootstrap() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 20, size=400).astype(float)
    sums = counts * rng.normal(2.0, 0.5, size=400)
    ratio, error = ratio_with_error(sums, counts)
    picks = rng.integers(0, 400, size=(2000, 400))
    assert ratio == pytest.approx(sums.sum() / counts.sum())
    assert error == pytest.approx(np.std(sums[picks].sum(1) / counts[picks].sum(1)), rel=0.1)
    assert math.isnan(ratio_with_error(sums[:1], counts[:1])[1])


def test_last_answer_is_the_last_run_of_learned_tokens() -> None:
    assert last_answer(np.array([0, 1, 1, 0, 1, 1, 0], dtype=bool)) == (4, 6)
    assert last_answer(np.array([0, 1, 1], dtype=bool)) == (1, 3)


def test_normalise_answer_evens_out_white_space_and_keeps_case() -> None:
    assert normalise_answer("  The\n cat\t sat ") == "The cat sat"
