"""One error tree. Every error pickles, states what is wrong, and knows its exit code.

`InputError` and its kin are the user's to mend: they name the place, the field, the value, the rule
and the likely mend, and end a command with exit code 2 before anything is started or written.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class OrchestratorError(Exception):
    """Root of every error that this package raises on purpose."""

    exit_code = 1


class InputError(OrchestratorError, ValueError):
    """Something the user gave cannot be used.

    Args:
        where: File or place, for example ``search_spaces/dolly.yaml`` or ``--set``.
        field: Dotted field, for example ``search_space.method.lora.r``; empty when the whole place is meant.
        value: The offending value; ``None`` when there is none to show.
        rule: What must hold, as a full clause without a final stop.
        mend: The likely mend, as a full clause; empty when unknown.
    """

    exit_code = 2

    def __init__(self, where: str, field: str = "", value: Any = None, rule: str = "", mend: str = "") -> None:
        super().__init__(where, field, value, rule, mend)
        self.where, self.field, self.value, self.rule, self.mend = where, field, value, rule, mend

    def __str__(self) -> str:
        place = f"{self.where}: {self.field}" if self.where and self.field else self.where or self.field
        shown = "" if self.value is None else f" = {_short(self.value)}"
        mend = f" {self.mend[0].upper()}{self.mend[1:]}" if self.mend else ""
        return f"{place}{shown}: {_sentence(self.rule)}{_sentence(mend)}"


class SpecError(InputError):
    """The sweep file (or an override of it) is wrong."""


class EntrypointError(InputError):
    """Training code of the user's own cannot be found, or does not keep to what a trial promises."""


class PluginError(InputError):
    """Code that a user adds by name (a method, an optimizer, a scorer ...) is missing, fails, or breaks its contract."""


class DataError(InputError):
    """A data set cannot be read, has the wrong shape, or has rows that cannot be used."""


class ModelError(InputError):
    """A base model or tokenizer is missing, unsafe, or does not fit the request."""


class CapacityError(InputError):
    """The machine or cluster is too small for what was asked."""


class ClusterError(InputError):
    """A Ray cluster cannot be reached or does not offer what the sweep needs."""


class TrackingError(InputError):
    """The tracking server cannot be reached at the start of a sweep."""


class StorageError(InputError):
    """The storage folder cannot be written, is full, or holds another sweep of the same name."""


class CheckpointError(OrchestratorError):
    """A checkpoint is incomplete, damaged, or belongs to another trial."""


class EntrypointFailure(OrchestratorError):
    """Training code of the user's own failed while it trained a trial."""


class DeviceMemoryError(OrchestratorError):
    """A training step does not fit the device even with one sample in a micro-batch."""


class SweepInterruptedError(OrchestratorError):
    """The sweep was stopped from outside and can be resumed with the same command."""

    exit_code = 130


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.5)
    # Letters that changed places are the likeliest slip: 'lroa' means 'lora', not 'road'.
    swapped = [each for each in close if sorted(each) == sorted(word)]
    return f"did you mean '{(swapped or close)[0]}'?" if close else ""


def _sentence(text: str) -> str:
    return text if not text or text[-1] in ".?!" else f"{text}."


def _short(value: Any, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
