"""``tpe``: a tree of Parzen estimators, one objective."""

from __future__ import annotations

from optuna.samplers import BaseSampler

from orchestrator.coordinating.searchers.optuna_searcher import OptunaSearcher, tpe_sampler


class TpeSearcher(OptunaSearcher):
    """Parts good trials from bad ones, so it hears how the other methods do, too."""

    hears_other_methods = True

    def sampler(self, seed: int, judged: int) -> BaseSampler:
        """See `OptunaSearcher.sampler`."""
        return tpe_sampler(seed)
