"""A scorer that is a function: it gets generated answers and references, or model, tokenizer and rows, and returns scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from orchestrator.errors import PluginError
from orchestrator.plugins.loading import guarded, loaded_code
from orchestrator.spec.evaluations.entry import EvaluationKind
from orchestrator.spec.evaluations.kinds import kind_of
from orchestrator.spec.options.declared import as_dataclass, checked_options
from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.evaluations.contract.evaluation import Metric, Scorer, SetScores, Subject
from orchestrator.training.evaluations.exact_match.exact_match import split_answers


@dataclass(frozen=True)
class Row:
    """One row of the set as text.

    Attributes:
        prompt: What the model reads before the last answer, through the chat template.
        reference: The last answer.
    """

    prompt: str
    reference: str


class FunctionScorer(Scorer):
    """Calls the function; says whose fault it is where that raises or returns something else than it declared.

    Args:
        function: Called as ``function(answers, references, options)`` with two lists of texts, or, where the entry says
            ``gives="model"``, as ``function(model, tokenizer, rows, options)`` with a list of `Row`. ``options`` is the
            declared dataclass, None without one. Returns metric -> value, or metric -> (value, standard error).
        kind: Its entry.
    """

    def __init__(self, function: Callable[..., Mapping[str, object]], kind: EvaluationKind) -> None:
        self._function, self._kind = function, kind

    def score(self, entry: PreparedSet, subject: Subject) -> SetScores:
        """See `Scorer.score`.

        Raises:
            PluginError: If the function raises, or returns another metric than it declared, or no finite number.
        """
        settings = entry.settings
        code = loaded_code("evaluation", settings.kind)
        assert code is not None, "a function is a plug-in's"
        declared = kind_of(settings).options
        given = checked_options(declared, settings.options, f"evaluation.{settings.name}.options")
        options = None if declared is None else as_dataclass(declared, given)
        arguments = self._arguments(entry, subject)
        with guarded(code, f"scoring '{settings.name}' failed"):
            said = self._function(*arguments, options)
            found = dict(said)
        return SetScores(checked_scores(found, self._kind.metrics, settings.name, f"{code.place}: {code.name}"))

    def _arguments(self, entry: PreparedSet, subject: Subject) -> tuple[object, ...]:
        pairs = split_answers(entry)
        references = [subject.text(reference) for _, reference in pairs]
        if self._kind.gives == "answers":
            answers = subject.answers([prompt for prompt, _ in pairs], entry.settings.max_new_tokens)
            return [subject.text(answer) for answer in answers], references
        tokenizer = subject.tokens.tokenizer
        prompts: Sequence[str] = [tokenizer.decode(prompt) for prompt, _ in pairs]
        model: nn.Module = subject.model
        return model, tokenizer, [Row(*each) for each in zip(prompts, references, strict=True)]


def checked_scores(
    found: Mapping[str, object], declared: Mapping[str, object], name: str, place: str
) -> dict[str, Metric]:
    """Return what a function said as metrics.

    Raises:
        PluginError: Names the metric, its value and the rule.
    """
    if set(found) != set(declared):
        rule = f"it declares the metrics {', '.join(declared)}, and returned {', '.join(map(str, found)) or 'none'}"
        raise PluginError(place, f"evaluation.{name}", None, rule, "return every declared metric and no other")
    return {metric: _number(value, f"evaluation.{name}/{metric}", place) for metric, value in found.items()}


def _number(value: object, field: str, place: str) -> Metric:
    pair: tuple[Any, Any] = value if isinstance(value, tuple) and len(value) == 2 else (value, math.nan)
    try:
        score, error = float(pair[0]), float(pair[1])
    except (TypeError, ValueError):
        score = error = math.nan
    if not math.isfinite(score):
        mend = "leave rows out that cannot be scored, or return a number that stands for them"
        raise PluginError(
            place, field, repr(value), "a score is a finite number, or a pair of it and its standard error", mend
        )
    return score, error
