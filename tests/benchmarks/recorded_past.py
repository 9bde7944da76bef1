"""The shipped recorded sweeps as past sweeps: what their bases and data are, which their files do not say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.reporting.recommendation.evidence import PastSweep, PastTrial
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.training.setup.sizes import DataFacts, ModelFacts

METRIC = "eval/loss"

TESTBED = ModelFacts("testbed", "llama", 128, 1_083_520, 10_240, 512)
GUTENBERG = ModelFacts("gutenberg", "llama", 96, 638_592, 6_912, 512)
STORIES = ModelFacts("stories260k", "llama", 64, 260_032, 5_840, 512)


def _rows(name: str, rows: int, mean: float, learned: float) -> DataFacts:
    return DataFacts(name, rows, 0, mean, learned, 4 * mean, round(5 * mean), 0.0)


@dataclass(frozen=True)
class Pair:
    """The base model and data of a recorded sweep; its name tells the pair."""

    name: str
    model: ModelFacts
    data: DataFacts


PAIRS = {
    "testbed_full": Pair("test bed, test bed", TESTBED, _rows("testbed:sft?rows=3000", 3000, 20, 4)),
    "testbed_methods": Pair("test bed, test bed", TESTBED, _rows("testbed:sft?rows=3000", 3000, 20, 4)),
    "testbed_hundred": Pair("test bed, test bed", TESTBED, _rows("testbed:sft?rows=3000", 3000, 20, 4)),
    "testbed_few_rows": Pair("test bed, 160 rows", TESTBED, _rows("testbed:sft?rows=288", 160, 20, 4)),
    "dolly_full": Pair("Gutenberg, dolly", GUTENBERG, _rows("dolly", 9000, 90, 50)),
    "dolly_adapters": Pair("Gutenberg, dolly", GUTENBERG, _rows("dolly", 9000, 90, 50)),
    "dolly_stories": Pair("stories260K, dolly", STORIES, _rows("dolly", 6000, 110, 60)),
    "gsm8k_full": Pair("Gutenberg, gsm8k", GUTENBERG, _rows("gsm8k", 2000, 140, 80)),
    "gsm8k_narrow": Pair("Gutenberg, gsm8k", GUTENBERG, _rows("gsm8k", 2000, 140, 80)),
    "banking77_full": Pair("Gutenberg, banking77", GUTENBERG, _rows("banking77", 9900, 40, 8)),
    "banking77_stories": Pair("stories260K, banking77", STORIES, _rows("banking77", 9900, 60, 12)),
}
"""Rows and lengths are rounded; they bound batch sizes and decide nothing else here.

The sweeps that were recorded later, to see what repeated rows do, are not among them: what was measured on these stays comparable.
"""


def paired(sweeps: Iterable[RecordedSweep]) -> list[RecordedSweep]:
    """Return the sweeps that have a pair."""
    return [sweep for sweep in sweeps if sweep.name in PAIRS]


def past_sweep(sweep: RecordedSweep) -> PastSweep:
    """Return a recorded sweep as one of the user's own, judged by its held-out loss."""
    pair = PAIRS[sweep.name]
    trials = tuple(
        PastTrial(
            str(trial.config["method"]),
            float(trial.config["learning_rate"]),
            int(trial.config["effective_batch_size"]),
            trial.final.get(METRIC),
            trial.samples_trained,
            trial.status == "completed",
        )
        for trial in sweep.trials
    )
    samples = max(trial.samples for trial in sweep.trials)
    return PastSweep(sweep.name, "recorded", "loss", "min", samples, pair.model, pair.data.identity, 0, trials)
