"""Parts of a sweep that are code of your own: each kind once. docs/howto/extend-*.md explains them one by one."""

import json
import math
import statistics
from dataclasses import dataclass, field

import torch

from orchestrator.extending import (
    PLUGIN,
    Finding,
    ListSearcher,
    Method,
    MethodEntry,
    NoTracker,
    OptimizerEntry,
    PeerRule,
    Schedule,
    SearcherKind,
    TrackerKind,
    about,
    as_dataclass,
    entry,
    grid_configs,
    options_of,
    scorer,
)


@dataclass(frozen=True)
class LastBlocksOptions:
    """What trains."""

    blocks: int = field(default=1, metadata=about("Blocks that train, from the output downwards.", ge=1))


@entry(
    MethodEntry(
        "weights",
        "the last blocks of the decoder",
        centre=1e-3,
        evidence="assumed from full",
        options=LastBlocksOptions,
        implementation=PLUGIN,
    )
)
class LastBlocks(Method):
    """Only the last blocks of the decoder train."""

    def wrap_model(self, model, context):
        own = as_dataclass(LastBlocksOptions, self.options)
        model.requires_grad_(False)
        for block in model.model.layers[-own.blocks :]:
            block.requires_grad_(True)
        return model


@dataclass(frozen=True)
class SignMomentumOptions:
    momentum: float = field(
        default=0.9, metadata=about("Share of the running gradient that is kept.", ge=0.0, le=0.999)
    )


class SignMomentum(torch.optim.Optimizer):
    """Steps of equal size along the sign of the running gradient."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                running = self.state[parameter].setdefault("running", torch.zeros_like(parameter))
                running.mul_(group["momentum"]).add_(parameter.grad, alpha=1 - group["momentum"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(running.sign(), alpha=-group["lr"])


@entry(
    OptimizerEntry(
        "steps along the sign of the running gradient",
        build=PLUGIN,
        state_numbers=1,
        options=options_of(SignMomentumOptions),
    )
)
def sign_momentum(model, groups, config, options):
    return SignMomentum(groups, {"lr": config.learning_rate, "weight_decay": 0.0, **options})


@dataclass(frozen=True)
class InverseSqrtOptions:
    timescale: float = field(
        default=10.0, metadata=about("Steps after which the rate has fallen to 1/sqrt(2).", ge=1.0)
    )


@entry(
    Schedule(
        PLUGIN,
        "falls with the inverse square root of the steps",
        options=options_of(InverseSqrtOptions),
        follows_budget=False,
    )
)
def inverse_sqrt(step, steps, warmup_steps, options):
    return (1.0 + (step - warmup_steps) / options["timescale"]) ** -0.5


@dataclass(frozen=True)
class BrevityOptions:
    characters: int = field(default=20, metadata=about("An answer of at most so many characters is short.", ge=1))


@scorer(metrics={"short": "max", "length": "min"}, options=BrevityOptions)
def brevity(answers, references, options):
    """Share of short answers, and their mean length."""
    lengths = [len(answer) for answer in answers]
    spread = statistics.stdev(lengths) / len(lengths) ** 0.5
    short = sum(length <= options.characters for length in lengths) / len(lengths)
    return {"short": short, "length": (statistics.fmean(lengths), spread)}


@dataclass(frozen=True)
class HighNorms(PeerRule):
    """Stops trials whose gradient norm lies far above their cohort's."""

    name = "high_norms"
    factor: float = field(default=4.0, metadata=about("How many times the cohort's median is too much.", ge=1.0))

    def judge_among(self, trial, cohort):
        norms = [each.dynamics.grad_norm_mean for each in cohort if each.dynamics is not None]
        if trial.dynamics is None or len(norms) < 3:
            return None
        norm, usual = trial.dynamics.grad_norm_mean, statistics.median(norms)
        if norm <= self.factor * usual:
            return None
        evidence = {"norm": norm, "median": usual}
        return Finding(
            f"its gradient norm {norm:.3g} is more than {self.factor:g} times the median {usual:.3g}", evidence
        )


@dataclass(frozen=True)
class MiddleOutOptions:
    centre: float = field(default=1e-3, metadata=about("Learning rate that is tried first.", ge=1e-9))


@entry(
    SearcherKind(
        "every combination, learning rates from the middle outwards",
        factory=PLUGIN,
        enumerates=True,
        options=MiddleOutOptions,
    )
)
def middle_out(task):
    own = as_dataclass(MiddleOutOptions, task.spec.options)
    configs = grid_configs(task.space, task.samples)
    return ListSearcher(sorted(configs, key=lambda config: abs(math.log(config.learning_rate / own.centre))))


class LineTracker(NoTracker):
    """Writes one line of JSON for every trial that ends."""

    def __init__(self, file):
        self._file = file

    def end_trial(self, trial_id, outcome, samples_seen, *, decision=None, scores=None, failure=""):
        line = {"trial": trial_id, "outcome": outcome.value, "samples": samples_seen}
        with self._file.open("a") as stream:
            stream.write(json.dumps(line) + "\n")


@entry(TrackerKind("a file of JSON lines", schemes=(), opener=PLUGIN))
def lines(task):
    return LineTracker(task.storage / f"{task.sweep.name}.lines.jsonl")
