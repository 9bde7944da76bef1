"""Scorers of evaluation sets: adding a kind is one file here, one entry below, and one in `spec.evaluation_kinds`."""

from __future__ import annotations

from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.evaluations.contract.evaluation import Scorer, SetSources
from orchestrator.training.evaluations.exact_match.exact_match import ExactMatchScorer
from orchestrator.training.evaluations.held_out_loss.loss import LossScorer
from orchestrator.training.evaluations.instruction_following.instructions import InstructionScorer
from orchestrator.training.evaluations.judge.judge import JudgeScorer
from orchestrator.training.evaluations.lm_eval.lm_eval import LmEvalScorer
from orchestrator.training.evaluations.multiple_choice.multiple_choice import MultipleChoiceScorer

SCORERS: dict[str, Scorer] = {
    "loss": LossScorer(),
    "text_loss": LossScorer(),
    "exact_match": ExactMatchScorer(),
    "multiple_choice": MultipleChoiceScorer(),
    "instructions": InstructionScorer(),
    "lm_eval": LmEvalScorer(),
    "judge": JudgeScorer(),
}


def prepare(settings: EvaluationSet, sources: SetSources) -> PreparedSet:
    """Return a set ready to be scored.

    Raises:
        InputError: If its source, its tasks or its judge are wrong.
    """
    return SCORERS[settings.kind].prepare(settings, sources)


def check(entry: PreparedSet) -> str:
    """Check what only counts right before training, and say what was found; empty where there is nothing to say.

    Raises:
        InputError: If the set could not be scored.
    """
    return SCORERS[entry.settings.kind].check(entry)
