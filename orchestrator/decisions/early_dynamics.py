"""The early-dynamics rule: lower gradient norm and higher training loss early mark the better model (arXiv 2412.13337).

As a stop rule: among the trials of a cohort at one milestone, one is weak when its gradient norm is high **and** its
training loss is low compared with its peers. Taken literally that would favour a learning rate of zero and the
largest batch, so four guards are part of the rule:

* a trial that has hardly learned is no peer: it is neither judged here nor a yardstick for others;
* peers share the effective batch size by default, because averaging over a larger batch lowers the norm by itself;
* the noise-corrected norm is used wherever every peer has one;
* the peer with the best objective so far is never stopped, nor are trials that the survivor quota keeps.

Off by default: the sign depends on the target. In distribution the loss half points the other way (early loss against
final score: Spearman +.80, lower is better); for text far from the training data it holds (-.43); the norm half held
in both labs (+.25 to +.72). The rule is for objectives about what the model keeps, not about what it learns.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.decisions.dynamics import EarlyDynamics
from orchestrator.decisions.objective import Key, is_judgeable
from orchestrator.errors import SpecError
from orchestrator.records import Scalar

RULE = "early_dynamics"


@dataclass(frozen=True)
class EarlyDynamicsRule:
    """Parameters of the rule.

    Args:
        enabled: Whether the rule runs.
        share: Trials are judged once, at the first milestone at or past this share of the budget.
        drop: Largest share of a group of peers that may be stopped (rounded down).
        min_cohort: Smallest group of peers that is judged.
        compare: ``effective_batch_size``: peers share it; ``cohort``: the whole cohort are peers.
        signals: ``both``: high norm and low loss (the paper); ``grad_norm``: the norm half alone.
        min_learned: A trial is a peer when its loss has fallen by at least this share of its start.

    Raises:
        ValueError: If a parameter is out of range; states the value.
    """

    enabled: bool = False
    share: float = 0.25
    drop: float = 0.25
    min_cohort: int = 4
    compare: Literal["effective_batch_size", "cohort"] = "effective_batch_size"
    signals: Literal["both", "grad_norm"] = "both"
    min_learned: float = 0.02

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must lie in (0, 1], got {self.share}")
        if not 0 < self.drop < 1:
            raise ValueError(f"drop must lie between 0 and 1, got {self.drop}")
        if self.min_cohort < 2:
            raise ValueError(f"min_cohort must be at least 2, got {self.min_cohort}")
        if not 0 <= self.min_learned < 1:
            raise ValueError(f"min_learned must lie in [0, 1), got {self.min_learned}")
        if self.compare not in ("effective_batch_size", "cohort"):
            raise ValueError(f"compare must be effective_batch_size or cohort, got {self.compare!r}")
        if self.signals not in ("both", "grad_norm"):
            raise ValueError(f"signals must be both or grad_norm, got {self.signals!r}")

    def milestone(self, levels: Sequence[int]) -> int:
        """Return the index of the milestone at which trials are judged.

        Raises:
            SpecError: If no milestone before the end lies there: the rule would silently never run.
        """
        # Levels are rounded to whole batches: a level just below the share is the one that was meant.
        reached = [index for index, level in enumerate(levels[:-1]) if level >= 0.95 * self.share * levels[-1]]
        if not reached:
            raise SpecError(
                "stopping.early_dynamics", "share", self.share,
                f"a milestone between this share and the end is needed, but the milestones are {list(levels)} samples",
                "lower the share, add a milestone, or switch the rule off",
            )  # fmt: skip
        return reached[0]


@dataclass(frozen=True, slots=True)
class Peer:
    """What the rule looks at in one trial. ``key`` is its objective so far, smaller is better."""

    trial_id: str
    effective_batch_size: int
    dynamics: EarlyDynamics
    key: Key


@dataclass(frozen=True, slots=True)
class Finding:
    """A trial that the rule stops: a sentence and the numbers behind it."""

    trial_id: str
    reason: str
    evidence: dict[str, Scalar]


def weak_trials(rule: EarlyDynamicsRule, peers: Iterable[Peer], protected: set[str], target: str) -> dict[str, Finding]:
    """Return the trials of one cohort that the rule stops at one milestone.

    A peer is weak when its gradient norm is above the group's median and (``signals: both``) its loss is below
    the group's median. Of the weak ones, at most ``floor(drop x group)`` are stopped, those with the
    highest norm first; ties by trial id. Cost: one sort per group.

    Args:
        rule: Parameters.
        peers: All trials of the cohort that have arrived with finite dynamics.
        protected: Trials that must not be stopped.
        target: Name of the objective, for the reason.
    """
    groups: dict[int, list[Peer]] = defaultdict(list)
    for peer in peers:
        if _has_learned(peer, rule.min_learned):
            groups[peer.effective_batch_size if rule.compare == "effective_batch_size" else 0].append(peer)
    found: dict[str, Finding] = {}
    for group in groups.values():
        if len(group) >= rule.min_cohort:
            found.update(_weak_in_group(rule, group, protected, target))
    return found


def _weak_in_group(rule: EarlyDynamicsRule, group: list[Peer], protected: set[str], target: str) -> dict[str, Finding]:
    corrected = all(peer.dynamics.noise_corrected_grad_norm is not None for peer in group)
    norms = {peer.trial_id: _norm(peer, corrected) for peer in group}
    losses = {peer.trial_id: peer.dynamics.loss_mean for peer in group}
    middle_norm, middle_loss = _median(list(norms.values())), _median(list(losses.values()))
    best = min(group, key=lambda peer: (peer.key, peer.trial_id)).trial_id
    weak = [
        peer
        for peer in group
        if norms[peer.trial_id] > middle_norm and (rule.signals == "grad_norm" or losses[peer.trial_id] < middle_loss)
    ]
    weak.sort(key=lambda peer: (-norms[peer.trial_id], losses[peer.trial_id], peer.trial_id))
    allowed = [peer for peer in weak if peer.trial_id != best and peer.trial_id not in protected]
    signal = "noise-corrected gradient norm" if corrected else "gradient norm"
    among = f"{len(group)} peers" + (
        f" with effective batch size {group[0].effective_batch_size}" if rule.compare == "effective_batch_size" else ""
    )
    found: dict[str, Finding] = {}
    for peer in allowed[: math.floor(rule.drop * len(group) + 1e-9)]:
        norm, loss, dynamics = norms[peer.trial_id], losses[peer.trial_id], peer.dynamics
        both = rule.signals == "both"
        loss_half = f" and training loss {loss:.4g} below their median {middle_loss:.4g}" if both else ""
        reason = (
            f"{signal} {norm:.4g} above the median {middle_norm:.4g}{loss_half} of {among}, over the last "
            f"{dynamics.covered_samples:,.0f} samples; lower norm"
            f"{' and higher loss' if both else ''} early is taken as better for {target}"
        )
        evidence: dict[str, Scalar] = {
            "signal": signal, "value": norm, "cut_off": middle_norm, "loss": loss, "loss_cut_off": middle_loss,
            "direction": "lower norm, higher loss" if both else "lower norm", "target": target,
            "window_samples": dynamics.window_samples, "peers": len(group), "compare": rule.compare,
            "effective_batch_size": peer.effective_batch_size,
            "norm_rank": 1 + sum(other < norm for other in norms.values()),
        }  # fmt: skip
        found[peer.trial_id] = Finding(peer.trial_id, reason, evidence)
    return found


def _has_learned(peer: Peer, min_learned: float) -> bool:
    dynamics = peer.dynamics
    finite = math.isfinite(dynamics.loss_mean) and math.isfinite(dynamics.grad_norm_mean)
    # NaN (no positive start) compares false: such a trial is no peer.
    return finite and is_judgeable(peer.key) and dynamics.loss_relative <= 1 - min_learned


def _norm(peer: Peer, corrected: bool) -> float:
    value = peer.dynamics.noise_corrected_grad_norm
    return value if corrected and value is not None else peer.dynamics.grad_norm_mean


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
