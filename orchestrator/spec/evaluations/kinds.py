"""The table of evaluation kinds. A kind is one entry here and one scorer in a folder of `orchestrator.training.evaluations`."""

from __future__ import annotations

from orchestrator.plugins.entries import PLUGIN
from orchestrator.plugins.registry import Registry
from orchestrator.settings.evaluation import EvaluationSet
from orchestrator.spec.evaluations.entry import EvaluationKind, SourceField
from orchestrator.spec.evaluations.rules import PATIENCE, check_examples, check_judge, check_pattern, check_tasks

_ROWS = ("data", "format", "columns", "limit")
_SCORERS = "orchestrator.training.evaluations"
_DATA = SourceField(("data",), unless="held_out")


def _without_perplexity(entry: EvaluationSet) -> frozenset[str]:
    return frozenset() if entry.perplexity else frozenset({"perplexity"})


def _without_lengths(entry: EvaluationSet) -> frozenset[str]:
    # Letters are all of one length.
    return frozenset({"accuracy_normalised"}) if entry.choices == "letters" else frozenset()


def _pairwise(entry: EvaluationSet) -> bool:
    return entry.judge is not None and entry.judge.grading == "pairwise"


def _without_other_grading(entry: EvaluationSet) -> frozenset[str]:
    grades = frozenset({"score", "score_first_turn", "score_second_turn"})
    return grades if _pairwise(entry) else frozenset({"win_rate"})


KINDS: dict[str, EvaluationKind] = {
    "loss": EvaluationKind(
        "cross-entropy on answers",
        scorer=f"{_SCORERS}.held_out_loss.loss:LossScorer",
        metrics={"loss": "min", "perplexity": "min"},
        reads=(*_ROWS, "perplexity"),
        quick=True,
        left_out=_without_perplexity,
    ),
    "exact_match": EvaluationKind(
        "share of greedy answers that equal the reference",
        scorer=f"{_SCORERS}.exact_match.exact_match:ExactMatchScorer",
        metrics={"exact_match": "max"},
        reads=(*_ROWS, "max_new_tokens", "extract"),
        check=check_pattern,
    ),
    "text_loss": EvaluationKind(
        "cross-entropy on plain text, and forgetting",
        scorer=f"{_SCORERS}.text_loss.text_loss:TextLossScorer",
        metrics={"loss": "min", "perplexity": "min", "forgetting": "min"},
        reads=("data", "limit", "perplexity"),
        own_data=True,
        quick=True,
        left_out=_without_perplexity,
        needs_base=lambda entry: True,
        zero_for_base=("forgetting",),
    ),
    "multiple_choice": EvaluationKind(
        "share of questions whose right choice is the likeliest",
        scorer=f"{_SCORERS}.multiple_choice.multiple_choice:MultipleChoiceScorer",
        metrics={"accuracy": "max", "accuracy_normalised": "max"},
        reads=("data", "columns", "limit", "choices", "prompt", "num_fewshot", "fewshot_data", "too_long"),
        own_data=True,
        left_out=_without_lengths,
        check=check_examples,
        sources=(_DATA, SourceField(("fewshot_data",))),
    ),
    "instructions": EvaluationKind(
        "verifiable instructions followed (IFEval)",
        scorer=f"{_SCORERS}.instruction_following.instructions:InstructionScorer",
        metrics={
            "prompt_strict": "max",
            "prompt_loose": "max",
            "instruction_strict": "max",
            "instruction_loose": "max",
        },
        reads=("data", "limit", "max_new_tokens", "unverifiable", "too_long"),
        own_data=True,
        not_in_files=lambda entry: (
            "which rows are dropped depends on what is installed" if entry.unverifiable == "drop" else ""
        ),
    ),
    "lm_eval": EvaluationKind(
        "tasks of EleutherAI's lm-eval",
        scorer=f"{_SCORERS}.lm_eval.lm_eval:LmEvalScorer",
        metrics={},
        reads=("limit", "prompt", "num_fewshot", "tasks", "task_folders", "unsafe_code"),
        takes_data=False,
        by_task=True,
        check=check_tasks,
        sources=(),
        not_in_files=lambda entry: "tasks may read the hub",
    ),
    "judge": EvaluationKind(
        "answers graded by another model (MT-Bench)",
        scorer=f"{_SCORERS}.judge.judge:JudgeScorer",
        metrics={
            "score": "max",
            "score_first_turn": "max",
            "score_second_turn": "max",
            "win_rate": "max",
            "failures": "min",
        },
        reads=("data", "limit", "max_new_tokens", "judge", "too_long"),
        own_data=True,
        left_out=_without_other_grading,
        check=check_judge,
        needs_base=lambda entry: _pairwise(entry) and entry.judge is not None and entry.judge.baseline == "base",
        sources=(_DATA, SourceField(("judge", "baseline"), unless="base", split="train")),
        no_matter={"judge": PATIENCE},
    ),
}


_ABSENT = EvaluationKind(
    "an evaluation whose code is not loaded here", PLUGIN, metrics={}, reads=("data",), by_task=True, open_fields=True
)
_KNOWN = Registry(KINDS, "evaluation", "scorer", _ABSENT)


def evaluation_kind(name: str) -> EvaluationKind:
    """Return the entry of a kind. Every name of a kind is looked up here.

    Raises:
        SpecError: If there is no such kind.
    """
    return _KNOWN.find("kind", name)


def kind_of(entry: EvaluationSet) -> EvaluationKind:
    """Return the kind of an evaluation set."""
    return evaluation_kind(entry.kind)
