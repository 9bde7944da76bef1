"""What a synthetic sweep is like: every knob of the learning curves that `synthetic_sweep` makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

REFERENCE_BATCH = 32
"""Effective batch size for which `SyntheticSettings.methods` gives the best learning rate."""


@dataclass(frozen=True)
class SyntheticSettings:
    """The kind of a synthetic sweep; losses in nats per token, noises as standard deviations.

    Space:
        methods: Method -> its best learning rate at an effective batch size of `REFERENCE_BATCH`.
        method_gaps: Method -> how much higher it ends; 0 where absent.
        effective_batch_sizes: Drawn evenly.
        learning_rate_factor: Learning rates are drawn log-uniformly, from the best one divided by this to the best
            one times this.
        repeats: Trials (seeds) of each configuration; they differ by noise alone.

    Size:
        samples: Training budget of a trial.
        levels: Milestones as shares of the budget; a trial is evaluated at its first optimizer step at or after each.
        signals: At most so many optimizer steps of a trial are recorded, evenly spaced, milestones among them.
        seconds_per_sample: Training time.

    Curve of a configuration, d = natural logarithm of learning rate over the best one at its batch size:
        start_loss, floor_loss: Loss of the base model, and of the best configuration trained without end.
        decay: Exponent of the power law by which the loss falls.
        speed: Progress of the best configuration at `REFERENCE_BATCH`: within so small a share of the budget
            (inverted) the power law sets in. Progress for each sample grows with learning rate over batch size.
        batch_exponent: The best learning rate grows with the batch size to this power (0.5: Malladi et al. 2022).
        curvature: What the asymptote rises by for d squared, above the best learning rate; half of it below.
        small_batch_loss: What the asymptote rises by when the batch size is halved. With ``batch_exponent`` below 1
            small batches lead early, and this lets large ones overtake them.
        spread: Difference between configurations that nothing explains.

    Misfortune:
        plateau_share, plateau_length: Share of the configurations that stand nearly still once, and for which share
            of the budget at most.
        divergence_factor: A trial diverges when its learning rate is more than this times the best one.

    Noise:
        repeat_noise: Of the loss at the end of training, between trials of one configuration; grows with progress.
        evaluation_noise: Of one evaluation.
        step_noise: Of the training loss of one step at `REFERENCE_BATCH`; falls with the square root of the batch size.
        gradient_scale: Gradient norm for a loss that falls by 1 nat in a step of learning rate 1.
        gradient_noise: Norm of the gradient's noise at a batch of one sample (root of the trace of its covariance).

    Second metric, ``general/loss``:
        general_loss: Its value for the base model.
        forgetting: What it rises by for the distance that the best configuration at `REFERENCE_BATCH` travels. Distance is
            learning rate times the root of the number of optimizer steps.
        general_noise: Repeat noise of it at the end of training.

    Raises:
        ValueError: If a setting cannot be; names it.
    """

    methods: Mapping[str, float] = field(default_factory=lambda: {"full": 1e-4, "lora": 1e-3})
    method_gaps: Mapping[str, float] = field(default_factory=lambda: {"lora": 0.01})
    effective_batch_sizes: tuple[int, ...] = (8, 16, 32, 64, 128)
    learning_rate_factor: float = 16.0
    repeats: int = 1
    samples: int = 16384
    levels: tuple[float, ...] = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
    signals: int = 32
    seconds_per_sample: float = 0.01
    start_loss: float = 3.0
    floor_loss: float = 1.0
    decay: float = 0.8
    speed: float = 100.0
    batch_exponent: float = 0.5
    curvature: float = 0.05
    small_batch_loss: float = 0.02
    spread: float = 0.01
    plateau_share: float = 0.1
    plateau_length: float = 0.3
    divergence_factor: float = 10.0
    repeat_noise: float = 0.01
    evaluation_noise: float = 0.003
    step_noise: float = 0.1
    gradient_scale: float = 1.0
    gradient_noise: float = 4.0
    general_loss: float = 2.0
    forgetting: float = 0.2
    general_noise: float = 0.01

    def __post_init__(self) -> None:
        positive = (
            "learning_rate_factor",
            "repeats",
            "samples",
            "signals",
            "seconds_per_sample",
            "start_loss",
            "decay",
            "speed",
            "divergence_factor",
            "gradient_scale",
        )
        for name in positive:
            _require(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        for name in ("repeat_noise", "evaluation_noise", "step_noise", "gradient_noise", "general_noise", "spread"):
            _require(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        _require(
            bool(self.methods) and min(self.methods.values()) > 0, "methods", "learning rates above 0", self.methods
        )
        sizes = self.effective_batch_sizes
        _require(
            bool(sizes) and 0 < min(sizes) <= max(sizes) <= self.samples,
            "effective_batch_sizes",
            "from 1 to the budget",
            sizes,
        )
        rising = sorted(set(self.levels)) == list(self.levels) and self.levels[:1] > (0.0,)
        _require(rising and self.levels[-1] == 1.0, "levels", "rising shares above 0 that end at 1", self.levels)
        _require(self.signals >= len(self.levels), "signals", "at least as many as there are levels", self.signals)
        _require(0 <= self.plateau_share <= 1, "plateau_share", "from 0 to 1", self.plateau_share)
        _require(0 <= self.plateau_length < 1, "plateau_length", "at least 0 and below 1", self.plateau_length)
        _require(self.start_loss > self.floor_loss, "start_loss", "above floor_loss", self.start_loss)


def _require(holds: bool, name: str, rule: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {rule}, got {value}")
