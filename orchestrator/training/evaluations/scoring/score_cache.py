"""Scores by what decides them, so that nothing is scored twice: by resumed, repeated and extended sweeps, or by commands.

The key covers the trained weights themselves, the configuration that they belong to, the base model, the set's settings
and rows, the tokenizer and the type in which is computed. One JSON file per model and set; a file is there whole or not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.spec.evaluations.kinds import kind_of
from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.data.token_cache import key_of
from orchestrator.training.evaluations.contract.evaluation import SetScores
from orchestrator.training.evaluations.contract.identity import settings_key


class ScoreCache:
    """Scores of one model.

    Args:
        folder: Where scores are kept.
        model_key: Key of everything about the model, called when it is first needed: it takes a second per 2 GB.
    """

    def __init__(self, folder: Path, model_key: Callable[[], str]) -> None:
        self._folder, self._make_key = folder, model_key
        self._model_key = ""

    def __call__(self, entry: PreparedSet, compute: Callable[[], SetScores]) -> SetScores:
        """Return the scores of a set, computed only where they are not known yet."""
        if not is_costly(entry.settings):
            return compute()
        self._model_key = self._model_key or self._make_key()
        place = self._folder / f"{set_key(self._model_key, entry)}.json"
        found = _read(place)
        if found is None:
            found = compute()
            if _is_complete(found):
                _write(place, found)
        return found

    def read(self, entry: PreparedSet) -> SetScores | None:
        """Return the scores of a set; None where they are not known."""
        self._model_key = self._model_key or self._make_key()
        return _read(self._folder / f"{set_key(self._model_key, entry)}.json")


def is_costly(settings: EvaluationSet) -> bool:
    """Whether scores of a set are kept: those of a loss at every milestone are quicker computed than looked up."""
    return settings.when == "end" or settings.detached or not kind_of(settings).quick


def set_key(model_key: str, entry: PreparedSet) -> str:
    """Return the key of a model's scores on a set."""
    judged = entry.note.get("baseline")
    return key_of("set_scores", model_key, settings_key(entry.settings), entry.digest, judged or {})


def weights_key(tensors: Mapping[str, Tensor]) -> str:
    """Return a digest of named tensors: the same in memory and read back from a checkpoint."""
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _is_complete(found: SetScores) -> bool:
    """Whether scores may be kept: where a judge failed, asking it again may tell more."""
    failures = found.metrics.get("failures", (0.0, 0.0))[0]
    return failures == 0


def _read(place: Path) -> SetScores | None:
    try:
        values = json.loads(place.read_text(encoding="utf-8"))
        metrics = {name: (_number(value), _number(error)) for name, (value, error) in values["metrics"].items()}
        losses = values["row_losses"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return SetScores(metrics, None if losses is None else np.asarray(losses, dtype=np.float64), values["answers"])


def _write(place: Path, found: SetScores) -> None:
    values = {
        "metrics": {name: [_plain(value), _plain(error)] for name, (value, error) in found.metrics.items()},
        "row_losses": None if found.row_losses is None else found.row_losses.tolist(),
        "answers": {key: list(turns) for key, turns in found.answers.items()},
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(values, stream)
    os.replace(draft, place)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
