"""``text_loss``: cross-entropy on plain text, perplexity, and forgetting against the base."""

from __future__ import annotations

import numpy as np
import tokenizers

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.data.sources import load_texts, open_source
from orchestrator.training.data.token_cache import Meta, key_of, open_or_build
from orchestrator.training.data.token_rows import TokenRow, text_pieces
from orchestrator.training.evaluations.contract.evaluation import (
    Scorer,
    SetScores,
    SetSources,
    Subject,
    ratio_with_error,
)
from orchestrator.training.evaluations.held_out_loss.loss import loss_metrics


class TextLossScorer(Scorer):
    """Token-mean cross-entropy on texts, every token but the first of a piece counted."""

    def prepare(self, settings: EvaluationSet, sources: SetSources) -> PreparedSet:
        """See `Scorer.prepare`; texts are cut into pieces that the model can take."""
        if settings.data == "held_out":
            rule = "text_loss reads plain text, not the held-out rows"
            raise DataError(
                f"evaluation.{settings.name}", "data", rule=rule, mend="give a text file, or use kind: loss"
            )
        tokens, source = sources.tokens, open_source(settings.data, sources.data.split)
        digest, max_length = source.digest(), tokens.max_length(sources.data)
        key = key_of("text", digest, source.split, settings.limit, max_length, tokens.digest, tokenizers.__version__)

        def build() -> tuple[list[TokenRow], Meta]:
            documents = load_texts(source)
            pieces = text_pieces(documents, tokens.tokenizer, max_length, settings.limit)
            rows = [TokenRow(ids, np.arange(len(ids)) > 0) for ids in pieces]
            if not rows:
                raise DataError(source.reference, rule="holds no text of at least two tokens")
            part = {"rows_found": len(documents), "rows_kept": len(rows), "format": "text", "source": source.reference}
            return rows, {"parts": [part | {"source_digest": digest}]}

        stored = open_or_build(sources.cache_dir, key, build)
        return PreparedSet(settings, stored.data, stored.meta)

    def score(self, entry: PreparedSet, subject: Subject) -> SetScores:
        """See `Scorer.score`; without the base's losses forgetting is left out."""
        sums, counts = subject.row_losses(entry.data)
        metrics = loss_metrics(entry, sums, counts)
        base = subject.base_losses.get(entry.name)
        if base is not None:
            metrics["forgetting"] = ratio_with_error(sums - np.asarray(base), counts)
        return SetScores(metrics, row_losses=sums)
