"""``gp``: a Gaussian process, one objective."""

from __future__ import annotations

from optuna.samplers import BaseSampler, GPSampler

from orchestrator.coordinating.searchers.optuna_searcher import OptunaSearcher


class GpSearcher(OptunaSearcher):
    """Models the objective over one method's dimensions."""

    # A Gaussian process of a few trials is ten times slower on threads that fight for cores.
    threads = 1

    def sampler(self, seed: int, judged: int) -> BaseSampler:
        """See `OptunaSearcher.sampler`."""
        return GPSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)
