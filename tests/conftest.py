"""Settings of all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

# How long a case takes depends on what else the machine does; time is never judged in a test.
settings.register_profile("orchestrator", deadline=None)
settings.load_profile("orchestrator")

TESTS = Path(__file__).parent
LONG = ("integration", "docs", "test_wheel.py", "simulation", "coordinating")
"""Where tests take long, longest first: two processes end together if nothing long is begun last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first; otherwise the order stays."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    top = item.path.relative_to(TESTS).parts[0]
    return LONG.index(top) if top in LONG else len(LONG)
