"""The one rule by which the paper's designs become small ones; explained in docs/explanation/scaling-the-paper.md.

Every number of a scaled sweep follows from the paper's number and three of its scale's: rows, the divisor of the
effective batch sizes, and the base's own baseline learning rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PAPER_ROWS = 825_487
"""Rows of all phases together."""

PAPER_EPOCHS = 10
"""Passes over the data of a LAB run."""

PAPER_BASELINE = 2e-5
"""The learning rate at which the paper starts, whatever the model."""

PAPER_LAB_BATCH = 3_840
"""Effective batch size in which the paper counts its warm-up steps."""

SIGNIFICANT_DIGITS = 3


@dataclass(frozen=True)
class Scale:
    """How much smaller a scale is than the paper.

    Args:
        name: ``mini``, ``gpu``, or ``smoke``, which only shows that everything works.
        rows: Training rows, instead of the paper's 825,487.
        batch_divisor: What the paper's effective batch sizes are divided by, all by the same, so that their ratios stay.
        test_rows: Rows held out for the test.
        validation_rows: Rows held out for choosing checkpoints and learning rates; disjoint from the others.
        max_length: Longest sequence in tokens for data of the user's own.
        question_divisor: What the numbers of generated questions are divided by.
        second_base_steps: Optimizer steps of pretraining the second base.
    """

    name: str
    rows: int
    batch_divisor: int
    test_rows: int
    validation_rows: int
    max_length: int
    question_divisor: int = 1
    second_base_steps: int = 1_200

    def samples(self, epochs: float) -> int:
        """Return the samples of a trial of so many epochs."""
        return round(self.rows * epochs)

    def batch(self, paper_batch: int) -> int:
        """Return the effective batch size that stands for one of the paper's.

        Raises:
            ValueError: If it does not divide evenly.
        """
        size, rest = divmod(paper_batch, self.batch_divisor)
        if rest:
            raise ValueError(f"{paper_batch} is no multiple of {self.batch_divisor}")
        return size

    def warmup(self, paper_steps: int) -> int:
        """Return the samples of a warm-up that the paper gives in steps of its batch of 3,840.

        It keeps its share of the samples of a whole run of ten epochs, rounded up.
        """
        share = paper_steps * PAPER_LAB_BATCH / (PAPER_ROWS * PAPER_EPOCHS)
        return math.ceil(round(share * self.samples(PAPER_EPOCHS), 6))


def rate(paper_rate: float, baseline: float) -> float:
    """Return the learning rate that keeps the paper's ratio to its baseline, in three significant digits."""
    return float(f"{baseline * paper_rate / PAPER_BASELINE:.{SIGNIFICANT_DIGITS}g}")


PAPER = Scale("paper", rows=PAPER_ROWS, batch_divisor=1, test_rows=5_000, validation_rows=0, max_length=4_096)
"""The paper's own scale, whose sweep files are written by hand (search_spaces/secret_recipe)."""

SCALES = {
    "smoke": Scale(
        "smoke",
        rows=60,
        batch_divisor=128,
        test_rows=24,
        validation_rows=24,
        max_length=128,
        question_divisor=10,
        second_base_steps=20,
    ),
    "mini": Scale("mini", rows=720, batch_divisor=32, test_rows=192, validation_rows=192, max_length=256),
    "gpu": Scale("gpu", rows=4_320, batch_divisor=16, test_rows=480, validation_rows=480, max_length=1_024),
}

LADDER = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""Learning rates among which a base's baseline is found."""

LADDER_SEED = 1_000
"""A seed that no finding uses."""

MILESTONE_SHARES = (1 / 30, 1 / 15, 2 / 15, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Shares of ten epochs at which models are scored: two and four epochs are among them, where TULU runs end."""
