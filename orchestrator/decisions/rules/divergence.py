"""The divergence rule: stop a trial that blows up, at the very step, inside the worker.

The rule is a frozen record that travels to the workers; `DivergenceRule.watch` makes the small stateful
object that looks at every training signal of one trial.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from statistics import median

from orchestrator.decisions.early_dynamics.features import DebiasedMean
from orchestrator.decisions.rules.rule import StoppingRule
from orchestrator.records import Action, Decision, Scalar, TrainingSignal
from orchestrator.settings.data import about
from orchestrator.settings.stopping import DivergenceSpec

RULE = "divergence"


@dataclass(frozen=True)
class DivergenceRule(DivergenceSpec, StoppingRule):
    """The options of the sweep file, and those that no sweep file sets.

    Args:
        loss_factor: The smoothed loss must also be this many times its start (matters when the start itself is high).
        patience_steps: The gradient norm must be too high at this many steps in a row (one spike is not a divergence).
        warm_up_steps: Steps before the norm has a median to be compared with; non-finite values and the
            loss are checked from the first step.
        window_steps: Steps that the running median spans.
        smoothing_steps: Half-life of the smoothed loss.
        start_samples: The start of the loss is its mean over at least so many samples (at least one step).
        non_finite_only: Check for NaN and infinity alone (recorded sweeps, where nothing else may stop).

    Raises:
        ValueError: If an option is out of range; states the value.
    """

    name = RULE

    loss_factor: float = field(default=1.25, metadata=about("Least ratio of the loss to its start.", ge=1))
    patience_steps: int = field(default=3, metadata=about("Steps in a row.", gt=0))
    warm_up_steps: int = field(default=20, metadata=about("Steps before there is a median.", gt=0))
    window_steps: int = field(default=64, metadata=about("Steps of the median.", gt=0))
    smoothing_steps: float = field(default=8.0, metadata=about("Half-life of the loss.", gt=0))
    start_samples: int = field(default=16, metadata=about("Samples of the loss's start.", gt=0))
    non_finite_only: bool = False

    def in_worker(self, record: bool) -> DivergenceRule:
        """Return what workers check; a sweep that records ends only what has nothing left to record."""
        return self.recording() if record else self

    def watch(self, trial_id: str, cohort: str = "") -> DivergenceWatch:
        """Return a fresh watch for one trial."""
        return DivergenceWatch(self, trial_id, cohort)

    def recording(self) -> DivergenceRule:
        """Return the form for recorded sweeps: only values that end training by themselves."""
        return replace(self, non_finite_only=True)


class DivergenceWatch:
    """Looks at one trial's signals in order; call it with each, it returns a STOP decision or None."""

    def __init__(self, rule: DivergenceRule, trial_id: str, cohort: str = "") -> None:
        self._rule, self._trial_id, self._cohort = rule, trial_id, cohort
        self._loss = DebiasedMean(rule.smoothing_steps)
        self._start_sum, self._start_samples, self._last_samples = 0.0, 0, 0
        self._norms: deque[float] = deque(maxlen=rule.window_steps)
        self._exploding_steps = 0

    def __call__(self, signal: TrainingSignal) -> Decision | None:
        """Same as `check`."""
        return self.check(signal)

    def check(self, signal: TrainingSignal) -> Decision | None:
        """Return a STOP decision when the trial has diverged at this step."""
        if not self._rule.enabled:
            return None
        found = self._check_finite(signal)
        if found is None and not self._rule.non_finite_only:
            found = self._check_loss(signal) or self._check_norm(signal)
        self._last_samples = signal.samples_seen
        return found

    def _check_finite(self, signal: TrainingSignal) -> Decision | None:
        for name, value in (
            ("loss", signal.loss),
            ("total loss", signal.total_loss),
            ("gradient norm", signal.grad_norm),
        ):
            if not math.isfinite(value):
                what = "not a number" if math.isnan(value) else "infinite"
                # NaN and infinity as text: evidence must stay valid JSON.
                return self._stop(signal, f"the {name} is {what}", {"signal": name, "value": str(value)})
        return None

    def _check_loss(self, signal: TrainingSignal) -> Decision | None:
        if self._start_samples < self._rule.start_samples:
            weight = max(1, signal.samples_seen - self._last_samples)
            self._start_sum += weight * signal.loss
            self._start_samples += weight
        self._loss.update(signal.loss, 1.0)
        start, smoothed = self._start_sum / self._start_samples, self._loss.value
        limit = max(start + self._rule.loss_margin, start * self._rule.loss_factor)
        if smoothed <= limit:
            return None
        return self._stop(
            signal,
            f"the smoothed loss {smoothed:.4g} is far above its start {start:.4g} (limit {limit:.4g})",
            {"signal": "loss", "value": smoothed, "start": start, "cut_off": limit},
        )

    def _check_norm(self, signal: TrainingSignal) -> Decision | None:
        usual = (
            median(self._norms) if len(self._norms) >= min(self._rule.warm_up_steps, self._rule.window_steps) else 0.0
        )
        limit = self._rule.grad_norm_factor * usual
        if usual <= 0 or signal.grad_norm <= limit:
            self._exploding_steps = 0
            self._norms.append(signal.grad_norm)
            return None
        # An exploding norm stays out of the window, or the median would follow it.
        self._exploding_steps += 1
        if self._exploding_steps < self._rule.patience_steps:
            return None
        return self._stop(
            signal,
            f"the gradient norm {signal.grad_norm:.4g} has been more than {self._rule.grad_norm_factor:g} times its "
            f"running median {usual:.4g} for {self._exploding_steps} steps",
            {"signal": "grad_norm", "value": signal.grad_norm, "median": usual, "cut_off": limit},
        )

    def _stop(self, signal: TrainingSignal, what: str, evidence: dict[str, Scalar]) -> Decision:
        reason = f"Diverged at step {signal.step} ({signal.samples_seen:,} samples): {what}."
        facts = {**evidence, "step": signal.step, "learning_rate": signal.learning_rate}
        return Decision(self._trial_id, signal.samples_seen, Action.STOP, RULE, self._cohort, reason, facts)
