"""What a reproduction trains on what: the test bed, or a base and data of the user's own, checked and split beforehand."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.errors import DataError, InputError
from orchestrator.progress import Say
from orchestrator.reporting.findings.registration.render import SECOND_BASE, Subject
from orchestrator.reporting.findings.registration.scaling import PAPER, Scale
from orchestrator.settings.trial_setup import ModelSettings
from orchestrator.spec.trial.identity import digest
from orchestrator.testbed.world import WorldSpec
from orchestrator.training.data.sources import open_source
from orchestrator.training.model.load import find_model, load_config

SECOND_BASE_SIZES = {"hidden_size": 64, "layers": 2, "heads": 2, "feed_forward_size": 192, "learning_rate": 8e-3}
"""Half as wide and half as deep as the test bed's own base, on the same text."""

SPLIT_SEED = 0


@dataclass(frozen=True)
class Bases:
    """Base models by their role; the second one is empty where there is none."""

    first: str
    second: str

    def of(self, role: str) -> str:
        """Return the path of ``first`` or ``second``."""
        return self.first if role == "first" else self.second


def check_models(models: Sequence[str]) -> None:
    """Check that base models are there and can be read.

    Raises:
        ModelError: If one is missing or is no causal language model.
        InputError: If more than two were given.
    """
    if len(models) > 2:
        raise InputError(
            "--model",
            value=", ".join(models),
            rule="a reproduction takes one base model, or two for F7",
            mend="leave the others out",
        )
    for path in models:
        settings = ModelSettings(path)
        find_model(settings)
        load_config(settings)


def make_bases(
    models: Sequence[str], testbed: bool, scale: Scale, storage: Path, needs_second: bool, report_only: bool, say: Say
) -> Bases:
    """Return the base models; pretrains the test bed's second one where it is not there yet.

    Args:
        models: As the user gave them; empty for the test bed's own.
        testbed: Whether the data are the test bed's, for which a second base can be made.
        scale: Says how long the second base is pretrained.
        storage: Its cache keeps the second base.
        needs_second: Whether a finding needs one.
        report_only: Whether nothing is to be trained, no base either.
        say: Told before minutes are spent.
    """
    # At the paper's scale each sweep file names its own base unless another is given.
    first = models[0] if models else "" if scale == PAPER else "testbed"
    if len(models) == 2:
        return Bases(first, models[1])
    if not (testbed and not models and needs_second):
        return Bases(first, "")
    folder = storage / "cache" / (SECOND_BASE if scale.name == "mini" else f"{SECOND_BASE}-{scale.name}")
    if not report_only and not (folder / "provenance.json").is_file():
        _pretrain_second_base(scale, folder, say)
    return Bases(first, str(folder))


def _pretrain_second_base(scale: Scale, folder: Path, say: Say) -> None:
    from orchestrator.testbed.pretrain import PretrainSettings, pretrain

    say("Pretraining the second base of the test bed, once per storage folder (about two minutes) ...")
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    settings = PretrainSettings(steps=scale.second_base_steps, **SECOND_BASE_SIZES)  # type: ignore[arg-type]
    pretrain(WorldSpec(), settings, draft)
    try:
        os.replace(draft, folder)
    except OSError:
        # Another command made it meanwhile.
        if not (folder / "provenance.json").is_file():
            raise


def own_subject(model: str, baseline: float, data: str, general_text: str, scale: Scale, storage: Path) -> Subject:
    """Return a base on data of the user's own, split into training, test and validation rows.

    Raises:
        DataError: If the data are gone, or too few.
    """
    folder = split_data(data, scale, storage)
    return Subject(
        model=model,
        baseline=baseline,
        train=str(folder / "train.jsonl"),
        test=str(folder / "test.jsonl"),
        validation=str(folder / "validation.jsonl"),
        general_text=general_text,
        label=subject_label(model, data),
    )


def split_data(data: str, scale: Scale, storage: Path) -> Path:
    """Return a folder with ``train.jsonl``, ``test.jsonl`` and ``validation.jsonl`` of a scale's sizes, disjoint rows.

    Args:
        data: As `data.train` of a sweep file.
        scale: Says how many rows each takes.
        storage: Its cache keeps the split, by the digest of the data.

    Raises:
        DataError: If the data cannot be read, or have too few rows.
    """
    source = open_source(data)
    sizes = {"train": scale.rows, "test": scale.test_rows, "validation": scale.validation_rows}
    name = digest({"data": source.digest(), "sizes": sizes, "seed": SPLIT_SEED})
    folder = storage / "cache" / f"reproduce-{name}"
    if all((folder / f"{part}.jsonl").is_file() for part in sizes):
        return folder
    rows = source.rows()
    needed = sum(sizes.values())
    if len(rows) < needed:
        raise DataError(
            "--data",
            value=data,
            rule=f"it has {len(rows):,} rows, scale {scale.name} needs {needed:,} ("
            + ", ".join(f"{count:,} for {part}" for part, count in sizes.items())
            + ")",
            mend="give more data",
        )
    order = np.random.Generator(np.random.Philox(SPLIT_SEED)).permutation(len(rows))
    folder.mkdir(parents=True, exist_ok=True)
    start = 0
    for part, count in sizes.items():
        lines = [json.dumps(rows[place], ensure_ascii=False, default=str) for place in order[start : start + count]]
        draft = folder / f".{part}.{os.getpid()}.tmp"
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
        os.replace(draft, folder / f"{part}.jsonl")
        start += count
    return folder


def subject_label(model: str, data: str) -> str:
    """Return a short name of a base and data that tells their sweeps from others, e.g. ``my-base-dolly-1f3a``."""
    words = [re.sub(r"[^A-Za-z0-9]+", "-", Path(text).stem or text).strip("-")[:16] for text in (model, data) if text]
    return "-".join([*filter(None, words), digest([model, data], 4)])


def model_title(path: str) -> str:
    """Return a base model as reports name it."""
    return path if path == "testbed" else Path(path).name
