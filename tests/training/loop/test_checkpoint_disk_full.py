"""A checkpoint that finds no room says so with the system's error number and leaves nothing behind."""

import errno
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from orchestrator.training.loop.checkpoints import save_checkpoint


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_full_disk_keeps_its_error_number(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.zeros(1 << 16))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    with _files_of_at_most(10_000), pytest.raises(OSError, match="cannot be written") as caught:
        save_checkpoint(tmp_path / "m0000", {"weight": weight.detach()}, optimizer, {"samples_seen": 8})
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert list(tmp_path.iterdir()) == []
