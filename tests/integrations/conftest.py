from collections.abc import Iterator

import pytest
from own_worlds import Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    peer = Worker()
    yield peer
    peer.close()
