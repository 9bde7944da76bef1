"""Identity: canonical JSON, digests, trial fingerprints and readable trial names. Standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping

from orchestrator.plugins.code import short_name
from orchestrator.records import Scalar, TrialConfig
from orchestrator.spec.trial.dimensions import DIMENSIONS

OWN_METHOD = "own"
"""The method of a sweep with an entrypoint that names none; it goes without saying in names."""


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN.

    Raises:
        TypeError: For values JSON has no form for (so that no two machines disagree on a digest).
        ValueError: For NaN and infinities.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: object, length: int = 16) -> str:
    """Return the first ``length`` hex digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def trial_fingerprint(config: TrialConfig) -> str:
    """Return ten hex digits that name a configuration: equal configurations, equal fingerprints."""
    return digest(config.as_dict(), 10)


def trial_name(config: TrialConfig, varied: Collection[str] = ()) -> str:
    """Return what a trial is called in tables and in MLflow, e.g. ``lora r16 lr3e-4 ebs64 s0``.

    Args:
        config: The configuration.
        varied: Dimensions that differ within the sweep (names as in `SearchSpace.dimensions`); besides
            method, rank, learning rate, effective batch size and seed only these are shown.
    """
    options = {key: value for key, value in config.method_options.items() if key == "r" or f"option.{key}" in varied}
    parts = [
        *([] if config.method == OWN_METHOD else [short_name(config.method)]),
        *(_option(key, options[key]) for key in sorted(options)),
    ]
    parts += [f"lr{short_number(config.learning_rate)}", f"ebs{config.effective_batch_size}"]
    shown = sorted((name for name in DIMENSIONS if name in varied), key=lambda name: DIMENSIONS[name].rank)
    for name in shown:
        part = DIMENSIONS[name].in_name(config)
        if part is not None:
            parts.append(f"{part[0]}{_shown(part[1])}")
    return " ".join([*parts, f"s{config.seed}"])


def short_number(value: float) -> str:
    """Return a number as short as it stays exact to three digits (whole numbers to six): 3e-4, 0.05, 64, 2048."""
    if abs(value) < 1_000_000 and value == int(value):
        return str(int(value))
    if 0.01 <= abs(value) < 1000:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _shown(value: Scalar) -> str:
    return short_number(value) if isinstance(value, (int, float)) else str(value)


def _option(key: str, value: object) -> str:
    if isinstance(value, bool):
        return key if value else f"no-{key}"
    if isinstance(value, (int, float)):
        return f"{key}{short_number(value)}"
    return f"{key}={value}" if isinstance(value, str) else f"{key}#{digest(value, 4)}"


def difference(before: Mapping[str, object], after: Mapping[str, object], prefix: str = "") -> list[str]:
    """Return one line per dotted field in which two nested mappings differ: ``a.b: 1 -> 2``."""
    lines: list[str] = []
    for key in sorted({*before, *after}, key=str):
        path = f"{prefix}{key}"
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += difference(old, new, f"{path}.")
        elif old != new:
            lines.append(f"{path}: {json.dumps(old, default=str)} -> {json.dumps(new, default=str)}")
    return lines
