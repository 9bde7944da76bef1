"""What the benchmark scripts share: repeated runs, medians with spread, one table, the machine's name."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Figure:
    """One figure: the median of several runs, its spread, the rival's median where there is one, and the aim."""

    name: str
    ours: float
    ours_runs: tuple[float, ...]
    unit: str
    aim: str
    reached: bool
    rival: float | None = None
    rival_runs: tuple[float, ...] = ()
    ratio: float | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def machine() -> str:
    """Say what the figures were measured on."""
    load = os.getloadavg()[0]
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{os.cpu_count()} cores ({platform.machine()}){gpu}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"load average {load:.2f} at the start"
    )


def print_figures(figures: Sequence[Figure]) -> None:
    """Print figures as an aligned Markdown table."""
    rows = [("figure", "ours (runs)", "rival (runs)", "ratio", "aim", "reached")]
    for f in figures:
        rows.append(
            (
                f.name,
                f"{f.ours:.4g} {f.unit} ({_runs(f.ours_runs)})",
                "-" if f.rival is None else f"{f.rival:.4g} {f.unit} ({_runs(f.rival_runs)})",
                "-" if f.ratio is None else f"{f.ratio:.3g}",
                f.aim,
                "yes" if f.reached else "no",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for index, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        if index == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for f in figures:
        if f.note:
            print(f"{f.name}: {f.note}")


def _runs(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
