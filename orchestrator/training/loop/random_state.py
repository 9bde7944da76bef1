"""A trial's own random numbers, so that trials that share a process do not disturb each other."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from orchestrator.errors import CheckpointError


class TrialRandom:
    """The state of torch's generators as one trial sees it; swapped in while the trial trains.

    Args:
        seed: The trial's seed.
        device: Where the trial trains; its generator is kept besides the CPU's.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        self._states: list[Tensor] = []
        with self.swapped(keep=True):
            torch.manual_seed(seed)

    @contextmanager
    def swapped(self, *, keep: bool = False) -> Iterator[None]:
        """Let torch draw from the trial's generators inside, and from the process's own again after.

        Args:
            keep: Start from the process's present state instead of the trial's.
        """
        outer = self._read()
        if not keep:
            self._write(self._states)
        try:
            yield
        finally:
            self._states = self._read()
            self._write(outer)

    def snapshot(self) -> list[Tensor]:
        """Return the generators' present states (inside `swapped`); reading them does not wait for the device."""
        return self._read()

    def rewind(self, states: list[Tensor]) -> None:
        """Put a snapshot back (inside `swapped`)."""
        self._write(states)

    def state_dict(self) -> list[str]:
        """Return the trial's states as text (base64)."""
        return [base64.b64encode(state.numpy().tobytes()).decode("ascii") for state in self._states]

    def load_state_dict(self, texts: list[str]) -> None:
        """Put saved states back.

        Raises:
            CheckpointError: If they were saved on another kind of device.
        """
        if len(texts) != len(self._states):
            raise CheckpointError(f"checkpoint holds {len(texts)} random states, this device has {len(self._states)}")
        arrays = [np.frombuffer(base64.b64decode(text), dtype=np.uint8) for text in texts]
        self._states = [torch.from_numpy(array.copy()) for array in arrays]

    def _read(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return states

    def _write(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if len(states) > 1:
            torch.cuda.set_rng_state(states[1], self._device)
