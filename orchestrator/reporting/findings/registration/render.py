"""From a design to a sweep file's values: the scaling rule applied, for the test bed or for a base and data of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.reporting.findings.registration.designs import Design, designs
from orchestrator.reporting.findings.registration.scaling import LADDER, LADDER_SEED, MILESTONE_SHARES, Scale, rate

TESTBED_BASELINE = 1e-3
"""Where search_spaces/secret_recipe_mini/baseline.yaml ended best on the test bed."""

SECOND_BASE = "testbed-small"
"""Folder name of the second base, which is pretrained on the spot."""

SPLIT_TOKENS = 64
"""Micro-batches so small that a step of four samples has two of them, without which its gradient's noise is unknown."""

LENGTH_PHASES = [{"name": "short", "share": 0.5}, {"name": "long", "share": 0.5, "replay": 0.01}]
"""Phases of data of the user's own: by the length of the answer, as in the paper's second split (appendix A.5.7)."""

QUESTIONS = {"knowledge": (120, 60), "skills": (84, 42)}
"""Generated questions of the test and of the validation of each kind."""


@dataclass(frozen=True)
class Subject:
    """What is trained on what.

    Args:
        model: Base model, as in a sweep file.
        baseline: Its baseline learning rate.
        train: Training rows; empty for the test bed.
        test: Held-out rows for the test; empty for the test bed.
        validation: Held-out rows for choosing; empty for the test bed.
        general_text: Text by which forgetting is measured; empty: not measured (never on the test bed).
        label: Part of the sweeps' names; empty for the test bed.
    """

    model: str = "testbed"
    baseline: float = TESTBED_BASELINE
    train: str = ""
    test: str = ""
    validation: str = ""
    general_text: str = ""
    label: str = ""

    @property
    def is_testbed(self) -> bool:
        """Whether the data are the test bed's."""
        return not self.train


def sweep_name(scale: Scale, design: str, label: str = "") -> str:
    """Return the name of a design's sweep, also of its folder in the storage; ``label`` tells other bases and data apart."""
    return f"secret_recipe_{scale.name}_{design}{f'_{label}' if label else ''}"


def sweep_values(name: str, scale: Scale, subject: Subject, seeds: int | None = None) -> dict[str, object]:
    """Return the values of a design's sweep file.

    Args:
        name: One of `designs`.
        scale: Rows and divisor of the batch sizes.
        subject: Base model and data.
        seeds: Seeds of each configuration, instead of the design's.
    """
    design = designs()[name]
    values: dict[str, object] = {
        "name": sweep_name(scale, name, subject.label),
        "description": design.about,
        "model": subject.model,
        "data": _data(design, scale, subject),
        "evaluation": _evaluation(name, scale, subject),
        "objective": {"metric": "validation/loss", "mode": "min"},
        "search_space": _search_space(name, design, scale, subject, seeds),
        "searcher": "grid",
        "budget": {"samples": scale.samples(design.epochs)},
        "milestones": milestones(name, scale),
        "stopping": {rule: {"enabled": False} for rule in ("divergence", "forecast", "rungs")},
        "resources": {"cpu": 4, "gpu": 1} if scale.name == "gpu" else {"cpu": 1},
    }
    if design.split_steps:
        values["training"] = {"micro_batch_tokens": SPLIT_TOKENS}
    return values


def milestones(name: str, scale: Scale) -> list[float]:
    """Return the shares of a design's budget at which its models are scored: at the same samples in all designs."""
    if name == "baseline" or designs()[name].split_steps:
        return [1.0]
    whole, own = scale.samples(10), scale.samples(designs()[name].epochs)
    levels = [round(share * whole) for share in MILESTONE_SHARES]
    return [round(level / own, 7) for level in levels if level <= own]


def _data(design: Design, scale: Scale, subject: Subject) -> dict[str, object]:
    if not subject.is_testbed:
        own = {"train": subject.train, "held_out": subject.test, "max_length": scale.max_length}
        own |= {"phases": LENGTH_PHASES} if design.phased else {}
        return own | {"too_long": "truncate", "missing_answer": "drop"}
    held_out = {"held_out": f"testbed:sft?rows={scale.test_rows}&skip={scale.rows}"}
    if not design.phased:
        return {"train": f"testbed:sft?rows={scale.rows}", **held_out}
    half = scale.rows // 2
    phases = [{"name": kind, "train": f"testbed:{kind}_sft?rows={half}"} for kind in ("knowledge", "skills")]
    return {"phases": phases, **held_out}


def _evaluation(name: str, scale: Scale, subject: Subject) -> list[dict[str, object]]:
    validation = subject.validation or f"testbed:sft?rows={scale.validation_rows}&skip={scale.rows + scale.test_rows}"
    sets: list[dict[str, object]] = [{"name": "validation", "kind": "loss", "data": validation}]
    if name == "baseline" or designs()[name].split_steps:
        return sets
    sets.append({"name": "eval", "kind": "loss", "data": "held_out"})
    if subject.is_testbed:
        sets += [entry for kind in QUESTIONS for entry in _questions(kind, scale)]
        sets.append({"name": "general", "kind": "text_loss", "data": "testbed:biographies?rows=48"})
    elif subject.general_text:
        sets.append({"name": "general", "kind": "text_loss", "data": subject.general_text, "limit": 96})
    return sets


def _questions(kind: str, scale: Scale) -> list[dict[str, object]]:
    test, validation = (count // scale.question_divisor for count in QUESTIONS[kind])
    shared = {"kind": "exact_match", "max_new_tokens": 12}
    return [
        {"name": kind, **shared, "data": f"testbed:{kind}?rows={test}"},
        {"name": f"{kind}_validation", **shared, "data": f"testbed:{kind}?rows={validation}&skip={test}"},
    ]


def _search_space(name: str, design: Design, scale: Scale, subject: Subject, seeds: int | None) -> Mapping[str, object]:
    rates = LADDER if design.rates == "ladder" else [rate(value, subject.baseline) for value in design.rates]
    warmups: list[object] = [{"samples": scale.warmup(steps)} if steps else 0 for steps in design.warmup_steps]
    if design.warmup_ratio is not None:
        warmups = [{"ratio": design.warmup_ratio}]
    return {
        "method": "full",
        "learning_rate": list(rates),
        "any_learning_rate": True,
        "effective_batch_size": [scale.batch(size) for size in design.batches],
        "schedule": list(design.schedules),
        "warmup": warmups,
        "data_strategy": list(design.strategies),
        "seed": LADDER_SEED if name == "baseline" else 0,
        "repeats": design.seeds if seeds is None else seeds,
    }
