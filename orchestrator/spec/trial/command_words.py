"""Names in braces inside the words of an entrypoint's command, and the values of a trial that they stand for.

Standard library only: the worker fills the words in where the sweep file was checked long ago.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields

from orchestrator.records import TrialConfig
from orchestrator.spec.trial.batch_plan import BatchPlan

_BRACES = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_.-]*)\}")
_GROUPS = frozenset({"method_options", "schedule_options", "optimizer_options"})
FIXED_NAMES = (
    "trial_id",
    "steps",
    "warmup_steps",
    "checkpoint_dir",
    *(field.name for field in fields(TrialConfig) if field.name not in _GROUPS),
)
"""Names that every trial has a value for, besides its free hyperparameters."""


def names_in(words: Iterable[str]) -> Iterator[str]:
    """Yield the names in braces, in order; ``{{`` and ``}}`` are braces themselves."""
    for word in words:
        yield from (match[1] for match in _BRACES.finditer(word) if match[1])


def filled(words: Sequence[str], values: Mapping[str, object]) -> list[str]:
    """Return words with each name in braces replaced by its value.

    Args:
        words: Words of a command.
        values: Name -> value, as from `trial_values`.

    Raises:
        KeyError: If a name has no value.
    """

    def text_of(match: re.Match[str]) -> str:
        return as_word(values[match[1]]) if match[1] else match[0][0]

    return [_BRACES.sub(text_of, word) for word in words]


def as_word(value: object) -> str:
    """Return a value as text: strings as they are, numbers exactly, everything else as JSON (null, true, [1, 2])."""
    return value if isinstance(value, str) else json.dumps(value)


def trial_values(config: TrialConfig, trial_id: str, checkpoint_dir: str) -> dict[str, object]:
    """Return what the names in braces stand for in one trial; ``warmup_steps`` and ``steps`` are optimizer steps."""
    plan = BatchPlan(config.samples, config.effective_batch_size, config.warmup_unit, config.warmup_amount)
    values = {key: value for key, value in config.as_dict().items() if key not in _GROUPS}
    values |= {"trial_id": trial_id, "checkpoint_dir": checkpoint_dir}
    values |= {"steps": plan.steps, "warmup_steps": plan.warmup_steps}
    return {**config.method_options, **values}
