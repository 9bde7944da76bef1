"""What a searcher is: proposes configurations, hears how they do.

A searcher is a deterministic function of its seed and of what it was told, so that a resumed sweep rebuilds
it by telling it everything the journal holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.records import Outcome, TrialConfig
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.sweep import ObjectiveSpec, SearcherSpec


class Searcher(Protocol):
    """Proposes configurations and hears how they do.

    Contract: `propose` returns a new configuration, none that it proposed or was told of before, or None when
    there are no more. `tell` is called for every configuration that was proposed, by this or by an earlier,
    interrupted process, any number of times. The same calls in the same order give the same proposals; `propose`
    stands for a tell of what it proposed as pending.
    """

    def propose(self) -> TrialConfig | None:
        """Return the next configuration, or None when the space is exhausted."""
        ...

    def tell(
        self, config: TrialConfig, outcome: Outcome, level: int = 0, scores: Mapping[str, float] | None = None
    ) -> None:
        """Learn of a configuration; what was told of it before stays known.

        Args:
            config: A configuration that was proposed.
            outcome: How it stands now; replaces what was told before.
            level: A milestone in samples, the same number for every trial at it (a trial's own samples seen
                differ by its batch size). Read with ``scores`` only.
            scores: Metric -> value at that milestone; None or empty: nothing new.
        """
        ...


@dataclass(frozen=True)
class SearchTask:
    """What a searcher is made from.

    Attributes:
        space: What is searched.
        spec: The searcher's own section of the sweep file: seed, number of start-up trials.
        objectives: What best means: the searcher's own objectives where it names some, else the sweep's.
        samples: Budget of one trial.
        trials: How many trials are planned.
    """

    space: SearchSpace
    spec: SearcherSpec
    objectives: Sequence[ObjectiveSpec]
    samples: int
    trials: int


SearcherFactory = Callable[[SearchTask], Searcher]
"""What an entry of `orchestrator.spec.searchers` refers to: a function or a class."""
