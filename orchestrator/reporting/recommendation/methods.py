"""Which methods are worth searching, and the rank of the adapters."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.reporting.recommendation.advice import Advice
from orchestrator.reporting.recommendation.beliefs import similarity
from orchestrator.reporting.recommendation.evidence import PastSweep, PastTrial, situation_of
from orchestrator.reporting.recommendation.published import ASSUMPTION, THINKING_MACHINES
from orchestrator.reporting.recommendation.request import Request
from orchestrator.spec.methods.catalogue import METHODS, method_info

VARIANTS = "arXiv 2602.04998"
RANKS = (8, 16, 32, 64, 128)
RANKED_METHODS = ("lora", "rslora", "dora")
"""Methods whose rank is recommended; the others keep the table's."""

FULL_AT_MOST = 1_000_000_000
"""Parameters up to which a single method is full fine-tuning: 16 GB of weights, gradients and Adam's moments."""

ALIKE = 0.4
"""Similarity from which a past sweep's best method joins the search."""


def choose_methods(request: Request, trials: int, past: Sequence[PastSweep]) -> tuple[tuple[str, ...], Advice]:
    """Return the methods of the search and why.

    Raises:
        SpecError: If an asked method is not in the catalogue.
    """
    if request.methods:
        for name in request.methods:
            method_info(name, "--method")
        return request.methods, Advice("search_space.method", list(request.methods), "as asked", ("--method",))
    most = 1 if trials < 6 else 2 if trials < 16 else 3
    full_first = request.model.parameters <= FULL_AT_MOST
    usual = ("full", "lora") if full_first else ("lora", "full")
    winners = _winners(request, past)[:1]
    chosen = tuple(dict.fromkeys((*winners, *usual)))[:most]
    reason = (
        f"{trials} trials bear {most} method{'s' if most > 1 else ''}; full fine-tuning and LoRA end alike while the "
    )
    reason += "adapter holds what the data tell, and with its rate tuned no variant of LoRA is much better"
    sources = [ASSUMPTION, THINKING_MACHINES, VARIANTS]
    if most == 1:
        reason = f"{trials} trials bear one method; {chosen[0]} for a base of {request.model.parameters / 1e6:,.0f} M parameters"
        sources = [ASSUMPTION]
    if winners:
        reason += f"; {winners[0]} won the past sweep most like this one"
        sources.append("past sweeps")
    return chosen, Advice("search_space.method", list(chosen), reason, tuple(sources))


def choose_rank(request: Request, samples: int) -> tuple[int, Advice] | None:
    """Return the smallest usual rank whose adapter has a parameter for each answer token seen; None where unknown."""
    if not request.model.adapter_parameters:
        return None
    told = round(min(samples, request.data.rows) * request.data.mean_answer_tokens)
    per_rank = request.model.adapter_parameters
    # An adapter of more than half of the model is no adapter any more.
    usable = [rank for rank in RANKS if rank * per_rank <= request.model.parameters / 2] or [RANKS[0]]
    rank = next((rank for rank in usable if rank * per_rank >= told), usable[-1])
    enough = rank * per_rank >= told
    reason = (
        f"{rank * per_rank:,} adapter parameters {'hold' if enough else 'cannot quite hold'} the {told:,} distinct "
    )
    reason += (
        "answer tokens that a trial sees (LoRA keeps up with full fine-tuning while its parameters outnumber them)"
    )
    return rank, Advice("r", rank, reason, (THINKING_MACHINES,))


def _winners(request: Request, past: Sequence[PastSweep]) -> list[str]:
    """Return the best methods of past sweeps that are like this one, the most alike first."""
    ranked = []
    for sweep in past:
        best = min((t for t in sweep.trials if _counts(t)), key=lambda t: _value(t, sweep.mode), default=None)
        if best is None or len(sweep.methods) < 2:
            continue
        there = situation_of(sweep, "")
        here = type(there)(
            request.model.identity,
            request.model.family,
            request.model.parameters,
            request.data.identity,
            "",
            "",
            there.samples,
            request.objective,
        )
        alike = similarity(here, there)
        if alike >= ALIKE and best.method in METHODS:
            ranked.append((-alike, best.method))
    return [method for _, method in sorted(ranked)]


def _counts(trial: PastTrial) -> bool:
    return trial.completed and trial.value is not None and trial.value == trial.value


def _value(trial: PastTrial, mode: str) -> float:
    assert trial.value is not None
    return -trial.value if mode == "max" else trial.value
