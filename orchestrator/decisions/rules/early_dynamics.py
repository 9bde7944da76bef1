"""The early-dynamics rule: lower gradient norm and higher training loss early mark the better model (arXiv 2412.13337).

As a stop rule: among the trials of a cohort at one milestone, one is weak when its gradient norm is among the highest
**and** its training loss is below the median of its peers. Taken literally that would favour a learning rate of zero and the
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
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.decisions.early_dynamics.features import EarlyDynamics
from orchestrator.decisions.objective import Key, is_judgeable
from orchestrator.decisions.rules.rule import Case, Finding, Judging, Standing, StoppingRule, SweepOutline
from orchestrator.errors import SpecError
from orchestrator.records import Scalar
from orchestrator.settings.data import about
from orchestrator.settings.stopping import EarlyDynamicsSpec

RULE = "early_dynamics"


@dataclass(frozen=True)
class EarlyDynamicsRule(EarlyDynamicsSpec, StoppingRule):
    """The options of the sweep file, and those that no sweep file sets.

    Args:
        compare: ``effective_batch_size``: peers share it; ``cohort``: the whole cohort are peers.
        signals: ``both``: high norm and low loss (the paper); ``grad_norm``: the norm half alone.
        min_learned: A trial is a peer when its loss has fallen by at least this share of its start.

    Trials are judged once; of a group, ``drop`` is rounded down.

    Raises:
        ValueError: If an option is out of range; states the value.
    """

    name = RULE

    compare: Literal["effective_batch_size", "cohort"] = "effective_batch_size"
    signals: Literal["both", "grad_norm"] = "both"
    min_learned: float = field(
        default=0.02, metadata=about("Share of its start by which a peer's loss fell.", ge=0, lt=1)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compare not in ("effective_batch_size", "cohort"):
            raise ValueError(f"compare must be effective_batch_size or cohort, got {self.compare!r}")
        if self.signals not in ("both", "grad_norm"):
            raise ValueError(f"signals must be both or grad_norm, got {self.signals!r}")

    def begin(self, sweep: SweepOutline) -> Judging:
        """Return a fresh view of a sweep."""
        return _EarlyJudging(self, frozenset({self.milestone(sweep.levels)}), sweep.objective.label)

    def milestone(self, levels: Sequence[int]) -> int:
        """Return the index of the milestone at which trials are judged.

        Raises:
            SpecError: If no milestone before the end lies there: the rule would silently never run.
        """
        # Levels are rounded to whole batches: a level just below the share is the one that was meant.
        reached = [index for index, level in enumerate(levels[:-1]) if level >= 0.95 * self.share * levels[-1]]
        if not reached:
            raise SpecError(
                "stopping.early_dynamics",
                "share",
                self.share,
                f"a milestone between this share and the end is needed, but the milestones are {list(levels)} samples",
                "lower the share, add a milestone, or switch the rule off",
            )
        return reached[0]


@dataclass(frozen=True, slots=True)
class Peer:
    """What the rule looks at in one trial. ``key`` is its objective so far, smaller is better."""

    trial_id: str
    effective_batch_size: int
    dynamics: EarlyDynamics
    key: Key


class _EarlyJudging:
    """The rule in one sweep; the trial that leads, and those that the quota keeps, go on whatever it finds."""

    name = RULE

    def __init__(self, rule: EarlyDynamicsRule, milestones: frozenset[int], target: str) -> None:
        self._rule, self.milestones, self._target = rule, milestones, target
        self._groups: dict[str, PeerGroups] = {}

    def arrive(self, standing: Standing) -> None:
        facts = standing.facts
        groups = self._groups.setdefault(facts.cohort, PeerGroups(self._rule))
        groups.remove(facts.trial_id)
        if standing.dynamics is not None:
            groups.add(Peer(facts.trial_id, facts.effective_batch_size, standing.dynamics, standing.key))

    def leave(self, cohort: str, trial_id: str) -> None:
        if cohort in self._groups:
            self._groups[cohort].remove(trial_id)

    def judge(self, case: Case) -> Finding | None:
        found = self._groups[case.standing.facts.cohort].weakness(case.entry.trial_id, self._target)
        return None if found is None or case.leads or case.kept_by_quota else found


class PeerGroups:
    """The peers of one cohort at one milestone, in groups that may be compared; one judgement costs O(log n).

    A peer is weak when its gradient norm is among the highest ``floor(drop x group)`` of its group and (``signals:
    both``) its training loss is below the group's median. Ties by trial id. The best of a group is never weak.

    Args:
        rule: Parameters.
    """

    def __init__(self, rule: EarlyDynamicsRule) -> None:
        self._rule = rule
        self._peers: dict[str, Peer] = {}
        self._groups: dict[int, _Group] = {}

    def add(self, peer: Peer) -> None:
        """Take a trial in, or anew; one that has not learned or has no finite signals is no peer."""
        self.remove(peer.trial_id)
        if _has_learned(peer, self._rule.min_learned):
            self._peers[peer.trial_id] = peer
            self._groups.setdefault(self._group_of(peer), _Group()).add(peer)

    def remove(self, trial_id: str) -> None:
        """Take a trial out; unknown trials are ignored."""
        peer = self._peers.pop(trial_id, None)
        if peer is not None:
            self._groups[self._group_of(peer)].remove(peer)

    def weakness(self, trial_id: str, target: str) -> Finding | None:
        """Return why a trial is weak among the peers that have arrived, or None.

        Args:
            trial_id: The trial.
            target: Name of the objective, for the reason.
        """
        peer = self._peers.get(trial_id)
        if peer is None:
            return None
        group, rule = self._groups[self._group_of(peer)], self._rule
        allowed = math.floor(rule.drop * group.size + 1e-9)
        if group.size < rule.min_cohort or allowed == 0 or group.best == trial_id:
            return None
        norm, cut_off, rank = group.norm_standing(peer, allowed)
        loss, middle = peer.dynamics.loss_mean, group.median_loss
        if rank > allowed or (rule.signals == "both" and not loss < middle):
            return None
        return self._finding(peer, group, target, norm, cut_off, rank)

    def _group_of(self, peer: Peer) -> int:
        return peer.effective_batch_size if self._rule.compare == "effective_batch_size" else 0

    def _finding(self, peer: Peer, group: _Group, target: str, norm: float, cut_off: float, rank: int) -> Finding:
        both, loss = self._rule.signals == "both", peer.dynamics.loss_mean
        signal = "noise-corrected gradient norm" if group.corrected else "gradient norm"
        same_batch = self._rule.compare == "effective_batch_size"
        among = f"{group.size} peers" + (
            f" with effective batch size {peer.effective_batch_size}" if same_batch else ""
        )
        loss_half = f", and its training loss {loss:.4g} is below their median {group.median_loss:.4g}" if both else ""
        reason = (
            f"{signal} {norm:.4g} is number {rank} from the top of {among} (cut-off {cut_off:.4g}){loss_half}, over the "
            f"last {peer.dynamics.covered_samples:,.0f} samples; a lower norm{' and a higher loss' if both else ''} "
            f"early is taken as better for {target}"
        )
        evidence: dict[str, Scalar] = {
            "signal": signal,
            "value": norm,
            "cut_off": cut_off,
            "norm_rank_from_top": rank,
            "loss": loss,
            "loss_cut_off": group.median_loss,
            "direction": "lower norm, higher loss" if both else "lower norm",
            "target": target,
            "window_samples": peer.dynamics.window_samples,
            "peers": group.size,
            "compare": self._rule.compare,
            "effective_batch_size": peer.effective_batch_size,
        }
        return Finding(reason, evidence)


class _Group:
    """Sorted lists of one group's signals and results."""

    def __init__(self) -> None:
        self._raw: list[tuple[float, str]] = []
        self._corrected: list[tuple[float, str]] = []
        self._losses: list[float] = []
        self._results: list[tuple[Key, str]] = []

    def add(self, peer: Peer) -> None:
        insort(self._raw, (peer.dynamics.grad_norm_mean, peer.trial_id))
        insort(self._losses, peer.dynamics.loss_mean)
        insort(self._results, (peer.key, peer.trial_id))
        if peer.dynamics.noise_corrected_grad_norm is not None:
            insort(self._corrected, (peer.dynamics.noise_corrected_grad_norm, peer.trial_id))

    def remove(self, peer: Peer) -> None:
        del self._raw[bisect_left(self._raw, (peer.dynamics.grad_norm_mean, peer.trial_id))]
        del self._losses[bisect_left(self._losses, peer.dynamics.loss_mean)]
        del self._results[bisect_left(self._results, (peer.key, peer.trial_id))]
        if peer.dynamics.noise_corrected_grad_norm is not None:
            del self._corrected[bisect_left(self._corrected, (peer.dynamics.noise_corrected_grad_norm, peer.trial_id))]

    @property
    def size(self) -> int:
        return len(self._raw)

    @property
    def corrected(self) -> bool:
        """Whether every peer has a noise-corrected norm: only then is it compared."""
        return len(self._corrected) == len(self._raw)

    @property
    def best(self) -> str:
        return self._results[0][1]

    @property
    def median_loss(self) -> float:
        half = self.size // 2
        return self._losses[half] if self.size % 2 else (self._losses[half - 1] + self._losses[half]) / 2

    def norm_standing(self, peer: Peer, allowed: int) -> tuple[float, float, int]:
        """Return a peer's norm, the norm of the ``allowed``-th from the top, and the peer's rank from the top."""
        ranked = self._corrected if self.corrected else self._raw
        corrected = peer.dynamics.noise_corrected_grad_norm
        norm = corrected if self.corrected and corrected is not None else peer.dynamics.grad_norm_mean
        return norm, ranked[-allowed][0], len(ranked) - bisect_left(ranked, (norm, peer.trial_id))


def _has_learned(peer: Peer, min_learned: float) -> bool:
    dynamics = peer.dynamics
    finite = math.isfinite(dynamics.loss_mean) and math.isfinite(dynamics.grad_norm_mean)
    # NaN (no positive start) compares false: such a trial is no peer.
    return finite and is_judgeable(peer.key) and dynamics.loss_relative <= 1 - min_learned
