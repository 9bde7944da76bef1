"""``loss``: cross-entropy on answers, and perplexity."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.evaluations.contract.evaluation import Metric, Scorer, SetScores, Subject, ratio_with_error


class LossScorer(Scorer):
    """Token-mean cross-entropy on answers."""

    def score(self, entry: PreparedSet, subject: Subject) -> SetScores:
        """See `Scorer.score`."""
        sums, counts = subject.row_losses(entry.data)
        return SetScores(loss_metrics(entry, sums, counts), row_losses=sums)


def loss_metrics(entry: PreparedSet, sums: NDArray[np.float64], counts: NDArray[np.float64]) -> dict[str, Metric]:
    """Return the loss of rows by their summed losses and numbers of tokens, and its perplexity if the set asks for it."""
    metrics = {"loss": ratio_with_error(sums, counts)}
    if entry.settings.perplexity:
        metrics["perplexity"] = perplexity(metrics["loss"])
    return metrics


def perplexity(loss: Metric) -> Metric:
    """Return ``exp(loss)`` and its standard error by the delta method, ``exp(loss)`` times that of the loss."""
    value = math.exp(min(loss[0], 700.0))
    return value, value * loss[1]
