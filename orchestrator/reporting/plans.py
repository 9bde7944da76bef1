"""What ``validate`` and ``plan`` print. Both take the JSON form of their results, the same that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from orchestrator.reporting.text import duration, gibibytes, number, share


def print_validation(values: Mapping[str, Any], console: Console) -> None:
    """Print the resolved sweep, and what it trains turned out to be."""
    console.print(
        yaml.safe_dump(values["sweep"], sort_keys=False, allow_unicode=True).rstrip(), markup=False, highlight=False
    )
    console.print()
    plan = values["plan"]
    rows = [
        *(_entrypoint_rows(values["entrypoint"]) if values["setup"] is None else _setup_rows(values["setup"])),
        ("trials", f"{plan['trials']} of {plan['samples']:,} samples, milestones at {', '.join(map(str, plan['levels']))}"),
        ("cluster", values["cluster"]["address"] or values["cluster"]["kind"]),
    ]  # fmt: skip
    console.print(_facts(rows))
    console.print("All checks passed.", style="green")


def _entrypoint_rows(entrypoint: Mapping[str, Any]) -> list[tuple[str, str]]:
    files = ", ".join(f"{name} ({digest})" for name, digest in entrypoint["files"].items())
    return [
        (entrypoint["kind"], entrypoint["label"]),
        ("runs in", entrypoint["folder"]),
        ("files", files or "none found"),
    ]


def _setup_rows(setup: Mapping[str, Any]) -> list[tuple[str, str]]:
    model, data, train = setup["model"], setup["data"], setup["train"]
    return [
        ("model", f"{model['model_class']}, {model['parameters']:,} parameters, vocabulary {model['vocabulary']:,}, "
                  f"length limit {model['length_limit'] or 'none'}, {model['dtype']}"),
        ("chat template", f"{model['template']}; an answer ends with {model['end_of_turn']!r}"),
        ("training data", f"{data['source']}: {data['format']}, {data['rows_kept']:,} of {data['rows_found']:,} rows kept "
                          f"({data['rows_without_answer']} without an answer, {data['rows_too_long']} too long)"),
        ("training rows", f"{train['rows']:,} rows, {train['tokens']:,} tokens ({train['answer_tokens']:,} of answers), "
                          f"length mean {train['mean']:.0f}, median {train['median']:.0f}, longest {train['longest']}"),
        ("duplicates", f"{setup['duplicates']} held-out rows also stand in the training rows"),
        *((f"evaluation {e['name']}", f"{e['kind']} on {e['source']}: {e['rows']:,} rows, {e['tokens']:,} tokens")
          for e in setup["evaluation"]),
    ]  # fmt: skip


def print_plan(values: Mapping[str, Any], console: Console) -> None:
    """Print the trials of a plan with steps, tokens, memory and time, and the totals; without what is not known."""
    estimated = any(trial["estimate"] is not None for trial in values["trials"])
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("trial", no_wrap=True)
    for title in (*_PLANNED, *(_ESTIMATED if estimated else ())):
        table.add_column(title, justify="right", no_wrap=True)
    for trial in values["trials"]:
        planned = (f"{trial['steps']:,}", f"{trial['warmup_steps']:,}", f"{trial['samples']:,}")
        table.add_row(trial["name"], *planned, *(_estimate_cells(trial) if estimated else ()))
    console.print(table)
    console.print()
    known = "" if values["all_trials_known"] else " (the first ones; the searcher proposes the others while it runs)"
    rows = [
        ("trials", f"{values['trials_planned']}{known}, each {values['samples_per_trial']:,} samples, milestones at "
                   f"{', '.join(map(str, values['milestones']))}"),
        ("exhaustive", f"{values['samples_exhaustive']:,} samples{_slot_time(values)}; stopping saves part of it"),
        *_after_search(values),
        ("memory", f"{gibibytes(values['available_memory_gib'])} free for {values['slots']} trials at once"),
    ]  # fmt: skip
    console.print(_facts(rows))


_PLANNED = ("steps", "warm-up", "samples")
_ESTIMATED = ("tokens", "trained", "weights", "gradients", "optimizer", "activations", "total", "time")


def _estimate_cells(trial: Mapping[str, Any]) -> tuple[str, ...]:
    estimate, memory = trial["estimate"], trial["estimate"]["memory"]
    about = "" if estimate["exact_parameters"] else "<= "
    return (
        f"{trial['tokens']:,}", about + _count(estimate["trainable_parameters"]), gibibytes(memory["weights"]),
        gibibytes(memory["gradients"]), gibibytes(memory["optimizer"]),
        gibibytes(memory["activations"] + memory["logits"]), gibibytes(sum(memory.values())), duration(estimate["seconds"]),
    )  # fmt: skip


def _slot_time(values: Mapping[str, Any]) -> str:
    seconds = values["slot_seconds_exhaustive"]
    if seconds is None:
        return ""
    return f", about {duration(seconds)} of one slot, {duration(seconds / values['slots'])} on {values['slots']} slots"


def _after_search(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what audit and repeats may cost on top of the search; nothing where the sweep has neither."""
    named = {"audit": values["samples_audit_at_most"], "repeats": values["samples_repeats_at_most"]}
    exhaustive = values["samples_exhaustive"]
    return [
        (name, f"at most {samples:,} samples more ({share(samples, exhaustive)} of exhaustive)")
        for name, samples in named.items()
        if samples
    ]


def _facts(rows: list[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, text)
    return table


def _count(value: int) -> str:
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{number(value / limit, 3)}{unit}"
    return str(value)
