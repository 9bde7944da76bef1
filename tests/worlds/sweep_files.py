"""A small valid sweep file as text, to be broken in one place by each test."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SWEEP = """\
name: tiny
model: ./base
data: {train: rows.jsonl}
evaluation:
  - {name: eval, kind: loss}
objective: {metric: eval/loss, mode: min}
budget: {trials: 4, samples: 64}
searcher: {kind: sobol, seed: 0}
search_space:
  method: {full: {}, lora: {r: 8}}
  effective_batch_size: [8, 16]
  learning_rate: auto
"""


def line_of(text: str, part: str) -> int:
    """Return the number of the first line that holds a part."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)
