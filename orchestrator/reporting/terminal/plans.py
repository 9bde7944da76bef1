"""What ``validate`` and ``plan`` print. Both take the JSON form of their results, the same that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from orchestrator.reporting.terminal.forms import (
    ClusterForm,
    EntrypointForm,
    EstimateForm,
    GpuCostForm,
    SetupForm,
    SweepPlanForm,
    TrialForm,
)
from orchestrator.reporting.text.numbers import duration, gibibytes, number, share


def print_validation(values: Mapping[str, Any], console: Console) -> None:
    """Print the resolved sweep, and what it trains turned out to be."""
    console.print(
        yaml.safe_dump(values["sweep"], sort_keys=False, allow_unicode=True).rstrip(), markup=False, highlight=False
    )
    console.print()
    plan: SweepPlanForm = values["plan"]
    cluster: ClusterForm = values["cluster"]
    rows = [
        *(_entrypoint_rows(values["entrypoint"]) if values["setup"] is None else _setup_rows(values["setup"])),
        (
            "trials",
            f"{plan['trials']} of {plan['samples']:,} samples, milestones at {', '.join(map(str, plan['levels']))}",
        ),
        ("cluster", cluster["address"] or cluster["kind"]),
    ]
    console.print(_facts(rows))
    console.print("All checks passed.", style="green")


def _entrypoint_rows(entrypoint: EntrypointForm) -> list[tuple[str, str]]:
    files = ", ".join(f"{name} ({digest})" for name, digest in entrypoint["files"].items())
    return [
        (entrypoint["kind"], entrypoint["label"]),
        ("runs in", entrypoint["folder"]),
        ("files", files or "none found"),
    ]


def _setup_rows(setup: SetupForm) -> list[tuple[str, str]]:
    model, data, train = setup["model"], setup["data"], setup["train"]
    if setup["missing"]:
        return _expected_rows(setup)
    return [
        (
            "model",
            f"{model['model_class']}, {model['parameters']:,} parameters, vocabulary {model['vocabulary']:,}, "
            f"length limit {model['length_limit'] or 'none'}, {model['dtype']}",
        ),
        ("chat template", f"{model['template']}; an answer ends with {model['end_of_turn']!r}"),
        (
            "training data",
            f"{data['source']}: {data['format']}, {data['rows_kept']:,} of {data['rows_found']:,} rows kept "
            f"({data['rows_without_answer']} without an answer, {data['rows_too_long']} too long)",
        ),
        (
            "training rows",
            f"{train['rows']:,} rows, {train['tokens']:,} tokens ({train['answer_tokens']:,} of answers), "
            f"length mean {train['mean']:.0f}, median {train['median']:.0f}, longest {train['longest']}",
        ),
        *(
            (f"part {p['name']}", f"{p['rows']:,} of {p['rows_usable']:,} usable rows of {p['source']}")
            for p in setup["parts"]
        ),
        *(
            (f"phase {name}", f"{rows:,} training rows{_replay(setup['replay'].get(name))}")
            for name, rows in setup["phases"].items()
        ),
        ("duplicates", f"{setup['duplicates']} held-out rows also stand in the training rows"),
        *(
            (f"evaluation {e['name']}", f"{e['kind']} on {e['source']}: {e['rows']:,} rows, {e['tokens']:,} tokens")
            for e in setup["evaluation"]
        ),
    ]


def _expected_rows(setup: SetupForm) -> list[tuple[str, str]]:
    model, train = setup["model"], setup["train"]
    return [
        ("not here", "; ".join(setup["missing"])),
        (
            "model",
            f"{model['path']}: {model['model_class']}, {model['parameters']:,} parameters, vocabulary {model['vocabulary']:,}, "
            f"length limit {model['length_limit'] or 'none'}",
        ),
        ("expected data", f"{train['rows']:,} training rows of {train['mean']:g} tokens on average (data.expected)"),
        *(
            (f"phase {name}", f"{rows:,} training rows{_replay(setup['replay'].get(name))}")
            for name, rows in setup["phases"].items()
        ),
        *((f"evaluation {e['name']}", f"{e['kind']} on {e['source']}") for e in setup["evaluation"]),
    ]


def _replay(part: float | None) -> str:
    return f", and {share(part, 1)} of the rows of earlier phases again" if part else ""


def print_plan(values: Mapping[str, Any], console: Console, *, gpus: bool = False) -> None:
    """Print the trials of a plan with steps, tokens, memory and time, and the totals; without what is not known.

    Args:
        values: The JSON form of the plan.
        console: Where to.
        gpus: Print GPU-hours and GPU memory as well; always done where model or data is not here.
    """
    trials: Sequence[TrialForm] = values["trials"]
    estimated = any(trial["estimate"] is not None for trial in trials)
    slot_time = _slot_time(values["slot_seconds_exhaustive"], values["slots"])
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("trial", no_wrap=True)
    for title in (*_PLANNED, *(_ESTIMATED if estimated else ())):
        table.add_column(title, justify="right", no_wrap=True)
    for trial in trials:
        planned = (f"{trial['steps']:,}", f"{trial['warmup_steps']:,}", f"{trial['samples']:,}")
        estimate = trial["estimate"]
        cells = () if estimate is None else _estimate_cells(trial["tokens"], estimate)
        table.add_row(trial["name"], *planned, *cells)
    console.print(table)
    console.print()
    known = "" if values["all_trials_known"] else " (the first ones; the searcher proposes the others while it runs)"
    rows = [
        (
            "trials",
            f"{values['trials_planned']}{known}, each {values['samples_per_trial']:,} samples, milestones at "
            f"{', '.join(map(str, values['milestones']))}",
        ),
        ("exhaustive", f"{values['samples_exhaustive']:,} samples{slot_time}; stopping saves part of it"),
        *_after_search(
            values["samples_audit_at_most"], values["samples_repeats_at_most"], values["samples_exhaustive"]
        ),
        *(
            [("not here", "; ".join(values["missing"]) + "; the figures rest on data.expected")]
            if values["missing"]
            else [("memory", f"{gibibytes(values['available_memory_gib'])} free for {values['slots']} trials at once")]
        ),
    ]
    console.print(_facts(rows))
    if values["missing"] or gpus:
        console.print()
        console.print(_gpu_table(values["gpu_costs"]))
        for line in cost_lines(values):
            console.print(line, highlight=False, soft_wrap=True)


def cost_lines(values: Mapping[str, Any]) -> list[str]:
    """Return what an exhaustive sweep costs in a few lines, as ``plan`` prints them; empty where it is unknown.

    Args:
        values: The JSON form of a plan.
    """
    costs: Sequence[GpuCostForm] = values["gpu_costs"]
    if not costs:
        return []
    hours = ", ".join(f"{_hours(cost['gpu_hours'])} on {cost['gpu']}" for cost in costs)
    fitting = [cost["gpu"] for cost in costs if cost["fits"]]
    needed = costs[0]["needed_gib"]
    return [
        f"cost: {values['trials_planned']} {'trial' if values['trials_planned'] == 1 else 'trials'}, {values['samples_exhaustive']:,} samples, {_count(values['tokens_exhaustive'])} tokens",
        f"cost: GPU-hours {hours}",
        f"cost: largest trial {f'{needed:.0f} GiB' if needed >= 10 else gibibytes(needed)} of GPU memory, fits {', '.join(fitting) or 'none of these'}",
    ]


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else number(hours, 2)


def _gpu_table(costs: Sequence[GpuCostForm]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("GPU", "memory", "largest trial", "fits", "GPU-hours", "utilisation"):
        table.add_column(title, justify="left" if title == "GPU" else "right", no_wrap=True)
    table.add_column("from")
    for cost in costs:
        table.add_row(
            cost["gpu"],
            gibibytes(cost["memory_gib"]),
            gibibytes(cost["needed_gib"]),
            "yes" if cost["fits"] else "no",
            _hours(cost["gpu_hours"]),
            share(cost["utilisation"], 1),
            cost["evidence"],
        )
    return table


_PLANNED = ("steps", "warm-up", "samples")
_ESTIMATED = ("tokens", "trained", "weights", "gradients", "optimizer", "activations", "total", "time")


def _estimate_cells(tokens: int | None, estimate: EstimateForm) -> tuple[str, ...]:
    memory = estimate["memory"]
    about = "" if estimate["exact_parameters"] else "<= "
    return (
        f"{tokens:,}",
        about + _count(estimate["trainable_parameters"]),
        gibibytes(memory["weights"]),
        gibibytes(memory["gradients"]),
        gibibytes(memory["optimizer"]),
        gibibytes(memory["activations"] + memory["logits"]),
        gibibytes(sum(memory.values())),
        "-" if estimate["seconds"] is None else duration(estimate["seconds"]),
    )


def _slot_time(seconds: float | None, slots: int) -> str:
    if seconds is None:
        return ""
    return f", about {duration(seconds)} of one slot, {duration(seconds / slots)} on {slots} slots"


def _after_search(audit: int, repeats: int, exhaustive: int) -> list[tuple[str, str]]:
    """Return what audit and repeats may cost on top of the search; nothing where the sweep has neither."""
    return [
        (name, f"at most {samples:,} samples more ({share(samples, exhaustive)} of exhaustive)")
        for name, samples in (("audit", audit), ("repeats", repeats))
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
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{number(value / limit, 3)}{unit}"
    return str(value)
