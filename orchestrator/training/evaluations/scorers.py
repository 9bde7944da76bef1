"""From an evaluation set to its scorer. Kinds are one folder here and one entry in `orchestrator.spec.evaluations` each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

from orchestrator.lazy_names import load
from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.spec.evaluations.entry import EvaluationKind
from orchestrator.spec.evaluations.kinds import kind_of
from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.evaluations.contract.evaluation import Scorer, SetSources

_OF_A_FUNCTION = "orchestrator.training.evaluations.function.function:FunctionScorer"


def scorer_of(settings: EvaluationSet) -> Scorer:
    """Return the scorer of a set's kind; only the kinds that a sweep has are imported."""
    return _made(kind_of(settings))


@functools.cache
def _made(kind: EvaluationKind) -> Scorer:
    found = load(kind.scorer)
    if isinstance(found, type) and issubclass(found, Scorer):
        return found()
    make = cast(Callable[[object, EvaluationKind], Scorer], load(_OF_A_FUNCTION))
    return make(found, kind)


def prepare(settings: EvaluationSet, sources: SetSources) -> PreparedSet:
    """Return a set ready to be scored.

    Raises:
        InputError: If its source, its tasks or its judge are wrong.
    """
    return scorer_of(settings).prepare(settings, sources)


def check(entry: PreparedSet) -> str:
    """Check what only counts right before training, and say what was found; empty where there is nothing to say.

    Raises:
        InputError: If the set could not be scored.
    """
    return scorer_of(entry.settings).check(entry)
