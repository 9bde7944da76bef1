"""A winner that started from another trial's weights: report and model card say that its recipe is not all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.history.read_sweep import read_sweep
from orchestrator.records import Origin
from orchestrator.reporting.cards.model_card import CardFacts, model_card
from orchestrator.reporting.sweep_report.compose import compose_report
from orchestrator.reporting.sweep_report.layout.markdown import report_markdown
from orchestrator.results.records import SweepHistory
from tests.worlds.report_sweeps import finished

SAID = "This recipe alone does not bring the result about"


def won_by(tmp_path: Path, takes: str) -> SweepHistory:
    """Return a sweep whose winner was made from another trial."""
    history = read_sweep(finished(tmp_path), signals=True)
    winner = history.result.winner
    assert winner is not None
    made = replace(winner, origin=Origin("t9999", "full lr1e-3", 2048, takes))
    swapped = {winner.trial_id: made}
    result = replace(
        history.result, winner=made, trials=tuple(swapped.get(each.trial_id, each) for each in history.result.trials)
    )
    trials = tuple(replace(each, result=swapped.get(each.result.trial_id, each.result)) for each in history.trials)
    return replace(history, result=result, trials=trials)


def texts(history: SweepHistory) -> list[str]:
    assert history.result.winner is not None
    facts = CardFacts("model", "testbed", False, "float32", 1, False, None, None, False)
    card = model_card(history, history.trial(history.result.winner.trial_id), facts)
    return [report_markdown(compose_report(history, 0.0), ""), card]


def test_weights_of_another_trial_are_named(tmp_path: Path) -> None:
    for text in texts(won_by(tmp_path, "weights")):
        flat = " ".join(text.replace("\\", "").split())
        assert SAID in flat
        assert "full lr1e-3 (t9999) had at 2,048 samples" in flat


@pytest.mark.parametrize("takes", ["configuration", "training"])
def test_what_a_recipe_brings_about_is_not_doubted(tmp_path: Path, takes: str) -> None:
    for text in texts(won_by(tmp_path, takes)):
        assert SAID not in text


def test_card_offers_no_rerun_that_would_be_refused(tmp_path: Path) -> None:
    assert "orchestrate rerun" not in texts(won_by(tmp_path / "a", "weights"))[1]
    assert "orchestrate rerun" in texts(won_by(tmp_path / "b", "configuration"))[1]
