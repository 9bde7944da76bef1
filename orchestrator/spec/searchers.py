"""The table of searchers. A searcher is one entry here and one file in `orchestrator.coordinating.searchers`."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.plugins.entries import PLUGIN
from orchestrator.plugins.registry import Registry

_SEARCHERS = "orchestrator.coordinating.searchers"


@dataclass(frozen=True)
class SearcherKind:
    """One kind of searcher. The rest of the program asks the entry, never for a kind's name.

    Attributes:
        summary: What it proposes.
        factory: What makes it, ``module:NAME``, imported at its first use: takes a `SearchTask`, returns a `Searcher`.
        learns: It hears of scores before it proposes the next; the others propose the same trials whatever these do,
            so that all are known before the first one runs.
        enumerates: It proposes every configuration of a finite space once, so that the space says how many trials there are.
        several_objectives: It takes several objectives; the others take the sweep's own alone.
        options: Dataclass of the options that it reads under ``searcher.options``.
    """

    summary: str
    factory: object
    learns: bool = False
    enumerates: bool = False
    several_objectives: bool = False
    options: type[object] | None = None


SEARCHERS: dict[str, SearcherKind] = {
    "grid": SearcherKind("every combination", f"{_SEARCHERS}.grid:grid_searcher", enumerates=True),
    "random": SearcherKind("random points", f"{_SEARCHERS}.random:random_searcher"),
    "sobol": SearcherKind("quasi-random points", f"{_SEARCHERS}.sobol:sobol_searcher"),
    "tpe": SearcherKind("a tree of Parzen estimators", f"{_SEARCHERS}.tpe:TpeSearcher", learns=True),
    "gp": SearcherKind("a Gaussian process", f"{_SEARCHERS}.gp:GpSearcher", learns=True),
    "nsga2": SearcherKind(
        "a genetic algorithm for several objectives",
        f"{_SEARCHERS}.nsga2:Nsga2Searcher",
        learns=True,
        several_objectives=True,
    ),
}


_ABSENT = SearcherKind("a searcher whose code is not loaded here", PLUGIN, learns=True)
_KNOWN = Registry(SEARCHERS, "searcher", "factory", _ABSENT)


def searcher_kind(name: str) -> SearcherKind:
    """Return the entry of a searcher. Every name of a searcher is looked up here.

    Raises:
        SpecError: If there is no such searcher.
    """
    return _KNOWN.find("searcher.kind", name)


def learning_searchers(*, several_objectives: bool) -> str:
    """Return the names of the searchers that learn, for one objective or for several, as they stand in a sentence."""
    return " or ".join(
        name for name, kind in SEARCHERS.items() if kind.learns and kind.several_objectives == several_objectives
    )
