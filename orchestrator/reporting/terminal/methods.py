"""The tables of ``methods``: all of them by family, or one with its options."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.spec.methods.catalogue import MethodInfo
from orchestrator.spec.methods.entry import FAMILIES
from orchestrator.spec.options.option import OptionInfo
from orchestrator.spec.options.values import TARGET_WORDS


def print_methods(methods: Iterable[MethodInfo], excluded: Mapping[str, str], console: Console) -> None:
    """Print methods by family, and those that are not offered."""
    found = list(methods)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("method", no_wrap=True)
    table.add_column("learning rate", no_wrap=True)
    table.add_column("starts at base", justify="center", no_wrap=True)
    table.add_column("merges", justify="center", no_wrap=True)
    table.add_column("what it trains", overflow="fold")
    for family, about in FAMILIES.items():
        members = [info for info in found if info.family == family]
        if members:
            table.add_row(Text(family, style="bold cyan"), "", "", "", Text(about, style="cyan"))
        for info in members:
            table.add_row(
                f"  {info.name}", learning_rates(info), _yes(info.starts_at_base), _yes(info.merges), Text(info.summary)
            )
    console.print(table)
    if excluded:
        console.print(Text(f"Not offered: {', '.join(excluded)}.", style="dim"))
    console.print(Text(f"{len(found)} methods; 'orchestrate methods NAME' shows one with its options.", style="dim"))


def print_method(info: MethodInfo, console: Console) -> None:
    """Print one method: what it is, its learning rates, its options with types and defaults, and how to name it."""
    console.print(Text.assemble((info.name, "bold"), f"  {info.summary}"))
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for title, value in _facts(info).items():
        facts.add_row(title, Text(value))
    console.print(facts)
    if info.options:
        console.print(_options(info))
    console.print(Text("In a sweep file:", style="dim"))
    console.print(Text(example(info)))


def learning_rates(info: MethodInfo) -> str:
    """Return the default range of learning rates."""
    return f"{info.learning_rate[0]:.2g} to {info.learning_rate[1]:.2g}"


def example(info: MethodInfo) -> str:
    """Return the method as a sweep file names it, with the options that it sets unless told otherwise."""
    own = "".join(f"\n      {name}: {_as_domain(value)}" for name, value in info.default_options.items())
    body = own or " {}"
    return f"search_space:\n  method:\n    {info.name}:{body}"


def _as_domain(value: object) -> str:
    """Return a value as the search space writes it: a bare list would be a choice, a bare mapping a range."""
    return json.dumps({"fixed": value} if isinstance(value, (list, dict)) else value)


def _facts(info: MethodInfo) -> dict[str, str]:
    facts = {
        "family": f"{info.family}: {FAMILIES[info.family]}",
        "learning rate": f"{learning_rates(info)}, log-uniform ({info.learning_rate_evidence})",
        "starts at the base model": _yes(info.starts_at_base),
        "merges into plain weights": _yes(info.merges),
        "config": f"peft's {info.peft_config}" if info.peft_config else "part of this package",
    }
    if info.fixed_options:
        facts["fixed"] = _values(info.fixed_options)
    if info.default_options:
        facts["set unless given"] = _values(info.default_options)
    return facts


def _options(info: MethodInfo) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("option", no_wrap=True)
    table.add_column("type", overflow="fold")
    table.add_column("default", overflow="fold")
    for name, option in sorted(info.options.items()):
        default = info.default_options.get(name, option.default)
        shown = _kinds(option) + (f"; or {', '.join(TARGET_WORDS)}" if name == "target_modules" else "")
        table.add_row(name, Text(shown), Text("from the model" if default is None else json.dumps(default)))
    return table


def _kinds(option: OptionInfo) -> str:
    kinds = [kind for kind in option.kinds if kind not in ("choice", "null")]
    words = [*kinds, *map(str, option.choices)]
    limits = (
        f">= {option.low:g}" if option.low is not None else "",
        f"<= {option.high:g}" if option.high is not None else "",
    )
    shown = ", ".join(limit for limit in limits if limit)
    return " or ".join(words) + (f" ({shown})" if shown else "")


def _values(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}: {json.dumps(value)}" for name, value in values.items())


def _yes(value: bool) -> str:
    return "yes" if value else "no"
