"""``loss`` and ``text_loss``: cross-entropy on answers or plain text, perplexity, and forgetting against the base."""

from __future__ import annotations

import math

import numpy as np

from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.evaluations.contract.evaluation import Metric, Scorer, SetScores, Subject, ratio_with_error


class LossScorer(Scorer):
    """Token-mean cross-entropy on answers."""

    def score(self, entry: PreparedSet, subject: Subject) -> SetScores:
        """See `Scorer.score`."""
        sums, counts = subject.row_losses(entry.data)
        metrics = {"loss": ratio_with_error(sums, counts)}
        if entry.settings.perplexity:
            metrics["perplexity"] = perplexity(metrics["loss"])
        base = subject.base_losses.get(entry.name)
        if entry.settings.kind == "text_loss" and base is not None:
            metrics["forgetting"] = ratio_with_error(sums - np.asarray(base), counts)
        return SetScores(metrics, row_losses=sums)


def perplexity(loss: Metric) -> Metric:
    """Return ``exp(loss)`` and its standard error by the delta method, ``exp(loss)`` times that of the loss."""
    value = math.exp(min(loss[0], 700.0))
    return value, value * loss[1]
