"""Settings of all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.worlds.shared_ray import SharedRay, ray_head

# How long a case takes depends on what else the machine does; time is never judged in a test.
settings.register_profile("orchestrator", deadline=None)
settings.load_profile("orchestrator")

TESTS = Path(__file__).parent
LONG = ("integration", "docs", "test_wheel.py", "simulation", "coordinating")
"""Where tests take long, longest first: two processes end together if nothing long is begun last."""


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[SharedRay]:
    """A Ray that is started once for all tests of this process that only join one."""
    with ray_head() as head:
        yield head


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first; otherwise the order stays."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    top = item.path.relative_to(TESTS).parts[0]
    return LONG.index(top) if top in LONG else len(LONG)
