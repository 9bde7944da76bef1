"""``plan``: what a sweep would train, hold in memory and cost, without training anything."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.api.plan.preflight import ValidationResult, validate_sweep
from orchestrator.coordinating.searchers.make import make_searcher
from orchestrator.errors import CapacityError
from orchestrator.history.after_search import make_draw
from orchestrator.progress import Say, silent
from orchestrator.records import TrialConfig, as_recorded
from orchestrator.spec.searchers import searcher_kind
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.sweep_plan import SweepPlan
from orchestrator.spec.trial.batch_plan import BatchPlan
from orchestrator.spec.trial.identity import trial_fingerprint, trial_name
from orchestrator.training.setup.estimates import TrialEstimate, TrialEstimator, available_gib, machine_slots
from orchestrator.training.setup.gpus import GPUS


@dataclass(frozen=True)
class TrialPlan:
    """One trial as planned: optimizer steps, samples, tokens, memory in GiB, seconds of one slot if never stopped.

    ``tokens`` and ``estimate`` are None where the user's own code trains: it is not run to find out.
    """

    trial_id: str
    name: str
    config: TrialConfig
    steps: int
    warmup_steps: int
    samples: int
    tokens: int | None
    estimate: TrialEstimate | None


@dataclass(frozen=True)
class GpuCost:
    """What an exhaustive sweep costs on one kind of GPU, one GPU per trial.

    ``needed_gib`` is the memory of the largest trial with the smallest micro-batch, ``gpu_hours`` rests on
    ``utilisation``, the share of the peak that training reaches, known from ``evidence``.
    """

    gpu: str
    memory_gib: float
    needed_gib: float
    fits: bool
    gpu_hours: float
    utilisation: float
    evidence: str


@dataclass(frozen=True)
class PlanResult:
    """All trials of a sweep as planned. ``proposed`` is False where the searcher decides while it runs."""

    validation: ValidationResult
    trials: tuple[TrialPlan, ...]
    proposed: bool
    slots: int
    available_gib: float

    @property
    def plan(self) -> SweepPlan:
        """The numbers all trials share."""
        return self.validation.plan

    @property
    def slot_seconds(self) -> float | None:
        """Estimated slot seconds of the exhaustive sweep; unproposed trials count as the mean of the others. None if unknown."""
        known = [t.estimate.seconds for t in self.trials if t.estimate is not None and t.estimate.seconds is not None]
        return sum(known) / len(known) * self.plan.trials if known else None

    @property
    def tokens(self) -> int | None:
        """Expected tokens of the exhaustive sweep; None if unknown."""
        known = [trial.tokens for trial in self.trials if trial.tokens is not None]
        return round(sum(known) / len(known) * self.plan.trials) if known else None

    @property
    def gpu_costs(self) -> tuple[GpuCost, ...]:
        """What the exhaustive sweep costs on each GPU of `orchestrator.training.setup.gpus`; empty where trials are unknown."""
        known = [trial.estimate for trial in self.trials if trial.estimate is not None]
        if not known:
            return ()
        operations = sum(estimate.operations for estimate in known) / len(known) * self.plan.trials
        needed = max(estimate.gpu_memory_gib for estimate in known)
        return tuple(
            GpuCost(
                gpu.name, gpu.memory_gib, needed, gpu.fits(needed), gpu.hours(operations), gpu.utilisation, gpu.evidence
            )
            for gpu in GPUS.values()
        )

    @property
    def audit_samples(self) -> int:
        """Samples that the audit may train at most: all trials but one stopped at the first comparison."""
        stopping = self.validation.spec.stopping
        if not self.plan.rung_indices or not (
            stopping.rungs.enabled or stopping.early_dynamics.enabled or stopping.rules
        ):
            return 0
        first = self.plan.levels[self.plan.rung_indices[0]]
        return make_draw(self.validation.spec).count(self.plan.trials - 1) * (self.plan.samples - first)

    @property
    def repeat_samples(self) -> int:
        """Samples that the repeats of the best recipes may train at most."""
        winner = self.validation.spec.winner
        recipes = min(winner.candidates, self.plan.trials)
        return recipes * winner.repeats * self.plan.samples if recipes > 1 else 0

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {
            "sweep": self.validation.spec.name,
            "trials_planned": self.plan.trials,
            "samples_per_trial": self.plan.samples,
            "samples_exhaustive": self.plan.exhaustive_samples,
            "tokens_exhaustive": self.tokens,
            "model": None if self.validation.setup is None else asdict(self.validation.setup.model),
            "missing": [] if self.validation.setup is None else list(self.validation.setup.missing),
            "gpu_costs": [asdict(cost) for cost in self.gpu_costs],
            "samples_audit_at_most": self.audit_samples,
            "samples_repeats_at_most": self.repeat_samples,
            "milestones": list(self.plan.levels),
            "slots": self.slots,
            "slot_seconds_exhaustive": self.slot_seconds,
            "available_memory_gib": self.available_gib,
            "all_trials_known": self.proposed,
            "trials": [asdict(trial, dict_factory=as_recorded) for trial in self.trials],
        }


def plan_trials(spec: SweepSpec, *, where: str = "sweep file", say: Say = silent) -> PlanResult:
    """List the trials of a sweep with batch plans, memory and time. Nothing is trained.

    Time rests on a measured matrix-multiplication speed of this machine; on a cluster of other machines it
    is a rough guide. Where model or data is not here and ``data.expected`` says what they will be like, the plan
    rests on that: no time on this machine and no check of its memory, but GPU memory and GPU-hours.

    Raises:
        InputError: As `validate_sweep`; CapacityError if a trial does not fit the memory.
    """
    validation = validate_sweep(spec, where=where, say=say)
    trials, slots, available = planned_trials(validation)
    if validation.setup is None or not validation.setup.missing:
        check_memory(spec, trials, available, slots, where)
    known = not searcher_kind(spec.searcher.kind).learns
    return PlanResult(validation, tuple(trials), known, slots, available)


def planned_trials(validation: ValidationResult) -> tuple[list[TrialPlan], int, float]:
    """Return the trials that the searcher proposes now, the slots of this machine, and its free memory in GiB."""
    spec, plan = validation.spec, validation.plan
    source = make_searcher(spec, plan.samples, plan.trials)
    setup, threads = validation.setup, max(1, int(spec.resources.cpu))
    estimator = None if setup is None else TrialEstimator(spec.trial_setup, setup, threads=threads)
    trials: list[TrialPlan] = []
    while len(trials) < plan.trials and (config := source.propose()) is not None:
        trials.append(_plan_trial(config, estimator, spec.search_space.varied))
    resources = spec.resources
    slots = min(machine_slots(resources.cpu, resources.gpu, resources.concurrency), plan.trials)
    return trials, slots, available_gib()


def check_memory(
    spec: SweepSpec, trials: list[TrialPlan], available_gib: float, slots: int, where: str = "sweep file"
) -> None:
    """Raise if the largest trial does not fit beside its neighbours.

    Raises:
        CapacityError: With the estimate, what there is, and what would help.
    """
    estimated = [(trial.estimate.memory.total, trial.name) for trial in trials if trial.estimate is not None]
    if not estimated:
        return
    needed, name = max(estimated)
    each = available_gib / (slots if spec.resources.gpu == 0 else max(1.0, 1 / min(1.0, spec.resources.gpu)))
    if needed > each:
        raise CapacityError(
            where,
            "resources",
            f"{needed:.1f} GiB for {name}",
            f"one trial may take at most {each:.1f} GiB here ({available_gib:.1f} GiB for {slots} at once)",
            "set a lower resources.concurrency, training.micro_batch_tokens or data.max_length, "
            "training.gradient_checkpointing: true, or choose adapter methods",
        )


def _plan_trial(config: TrialConfig, estimator: TrialEstimator | None, varied: frozenset[str]) -> TrialPlan:
    batches = BatchPlan(config.samples, config.effective_batch_size, config.warmup_unit, config.warmup_amount)
    return TrialPlan(
        trial_id=trial_fingerprint(config),
        name=trial_name(config, varied),
        config=config,
        steps=batches.steps,
        warmup_steps=batches.warmup_steps,
        samples=config.samples,
        tokens=None if estimator is None else estimator.tokens(config.samples),
        estimate=None if estimator is None else estimator.estimate(config),
    )
