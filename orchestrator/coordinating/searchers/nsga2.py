"""``nsga2``: a genetic algorithm for several objectives."""

from __future__ import annotations

from optuna.samplers import BaseSampler, NSGAIISampler

from orchestrator.coordinating.searchers.optuna_searcher import OptunaSearcher


class Nsga2Searcher(OptunaSearcher):
    """Crosses and mutates the best trials known."""

    def sampler(self, seed: int, judged: int) -> BaseSampler:
        """See `OptunaSearcher.sampler`; all that is known is one generation, its best are parents of every proposal."""
        return NSGAIISampler(seed=seed, population_size=max(2, min(self.task.spec.startup_trials, judged)))
