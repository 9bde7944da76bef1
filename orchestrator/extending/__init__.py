"""What code of your own that a sweep file names is written with: entries, base classes, and what it is given.

>>> from orchestrator.extending import Method, MethodEntry, PLUGIN, about, entry

How to write each kind: docs/howto/extend-*.md. `orchestrator.testing` has the contracts that it must keep, as tests.
"""

from orchestrator.lazy_names import attach

__getattr__, __dir__, __all__ = attach(__name__)
