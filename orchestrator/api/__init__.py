"""The Python interface: what the command line does, with typed results.

>>> from orchestrator import load_sweep, run_sweep
>>> result = run_sweep(load_sweep("search_spaces/quickstart.yaml"))  # doctest: +SKIP
>>> result.winner.name, result.winner.scores  # doctest: +SKIP

Every name is imported at its first use: reading a sweep back needs neither torch nor Ray, and takes a fraction
of the seconds that they take to import.
"""

from orchestrator.lazy_names import attach

__getattr__, __dir__, __all__ = attach(__name__)
