from collections.abc import Iterator

import pytest

from tests.worlds.own_worlds import Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    peer = Worker()
    yield peer
    peer.close()
