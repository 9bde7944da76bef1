"""Scores that are known by the files which decide them, so that asking again loads neither libraries nor a model.

Beside `score_cache`, whose keys need the weights in memory and the rows as tokens: here every score of a model on a set is
kept, cheap ones too, one JSON file per model and set, under a key of the content of all files that were read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import EvaluationSet, TrialSetup
from orchestrator.training.evaluations.scoring.deciding_files import NotInFilesError, folder_part, set_part, shared_part
from orchestrator.training.evaluations.scoring.file_digests import FileDigests

VERSION = 1
_LEFT_OUT = "optimizer.safetensors"
"""Twice as large as the weights, and no score depends on it."""


@dataclass(frozen=True)
class Known:
    """Scores and standard errors by metric (``NAME/METRIC``), NaN where there is no number."""

    scores: Mapping[str, float]
    standard_errors: Mapping[str, float]


class KnownScores:
    """Scores of the models of one setup.

    Args:
        setup: Model, data and evaluation sets; paths as they can be read from here.
        cache_dir: Cache of the storage.
        device: As asked for: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    """

    def __init__(self, setup: TrialSetup, cache_dir: Path, device: str) -> None:
        self._setup, self._device = setup, device
        self._folder = cache_dir / "known_scores"
        self._digests = FileDigests(cache_dir / "file_digests.json")
        self._keys: dict[Path | None, dict[str, str]] = {}
        self._first: list[object] | None = None

    def find(self, config: TrialConfig | None = None, checkpoint: Path | None = None) -> Known | None:
        """Return a model's scores on all sets; None where one of them is not known.

        Nothing is read but files: a model that cannot be told by them is not known. To be called before anything of the
        setup is loaded, and before each model is scored whose scores are to be kept.

        Args:
            config: The configuration that was trained; None: the base model.
            checkpoint: The folder of its checkpoint; None: the base model.
        """
        keys = self._keys[checkpoint] = self._all_keys(config, checkpoint)
        self._digests.save()
        scores: dict[str, float] = {}
        errors: dict[str, float] = {}
        for entry in self._setup.evaluation:
            found = _read(self._folder / f"{keys[entry.name]}.json") if entry.name in keys else None
            if found is None:
                return None
            scores |= {f"{entry.name}/{name}": value for name, value in found.scores.items()}
            errors |= {f"{entry.name}/{name}": value for name, value in found.standard_errors.items()}
        return Known(scores, errors)

    def keep(self, found: Known, config: TrialConfig | None = None, checkpoint: Path | None = None) -> None:
        """Keep scores that were just computed, unless a file changed between `find` and now, or a judge failed."""
        before, now = self._keys.get(checkpoint, {}), self._all_keys(config, checkpoint)
        self._digests.save()
        for entry in self._setup.evaluation:
            part = _of_set(entry.name, found)
            if part.scores and not part.scores.get("failures") and before.get(entry.name, "") == now.get(entry.name):
                with contextlib.suppress(OSError):  # it only makes the next time quicker
                    _write(self._folder / f"{now[entry.name]}.json", part)

    def _all_keys(self, config: TrialConfig | None, checkpoint: Path | None) -> dict[str, str]:
        """Return the key of each set's scores; sets that files do not tell are left out."""
        try:
            shared = shared_part(self._setup, self._device, self._digests)
            weights = [] if checkpoint is None else folder_part(checkpoint, self._digests, leave_out=_LEFT_OUT)
        except (NotInFilesError, OSError):
            return {}
        # What was loaded is what was there at the first look; what came later would be kept under a wrong key.
        self._first = shared if self._first is None else self._first
        if shared != self._first:
            return {}
        trained = None if config is None else config.as_dict()
        return {
            entry.name: key for entry in self._setup.evaluation if (key := self._key(entry, shared, trained, weights))
        }

    def _key(self, entry: EvaluationSet, *parts: object) -> str:
        try:
            own = set_part(entry, self._setup.data, self._digests)
        except (NotInFilesError, OSError):
            return ""
        text = json.dumps([VERSION, own, *parts], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _of_set(name: str, found: Known) -> Known:
    begin = f"{name}/"
    parts = (
        {key.removeprefix(begin): value for key, value in each.items() if key.startswith(begin)}
        for each in (found.scores, found.standard_errors)
    )
    return Known(*parts)


def _read(place: Path) -> Known | None:
    try:
        values = json.loads(place.read_text(encoding="utf-8"))
        return Known(*(_numbers(values[name]) for name in ("scores", "standard_errors")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else float(value) for name, value in values.items()}


def _write(place: Path, found: Known) -> None:
    values = {
        name: {key: None if math.isnan(value) else value for key, value in each.items()}
        for name, each in (("scores", found.scores), ("standard_errors", found.standard_errors))
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(values, stream)
    os.replace(draft, place)
