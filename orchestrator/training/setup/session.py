"""One process's share of a sweep: base model, tokenizer and tokenised data, kept for all trials it runs."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import nn

from orchestrator.errors import InputError, nearest
from orchestrator.plugins.loading import load_all
from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import TrialSetup
from orchestrator.spec.evaluations.kinds import kind_of
from orchestrator.training.data.plans.order import make_order
from orchestrator.training.data.prepare import Tokens
from orchestrator.training.data.token_cache import key_of
from orchestrator.training.evaluations.contract.identity import settings_key
from orchestrator.training.evaluations.scoring.evaluator import Evaluator, Scores
from orchestrator.training.evaluations.scoring.score_cache import ScoreCache, weights_key
from orchestrator.training.loop.batches import pad_rows
from orchestrator.training.loop.memory_estimate import uses_bfloat16
from orchestrator.training.loop.token_budgets import TokenBudgets
from orchestrator.training.loop.trial import Trial
from orchestrator.training.methods import Batch, Method, MethodContext, build_method
from orchestrator.training.model.load import (
    find_model,
    fresh_copy,
    load_model,
    padding_id,
    training_dtype,
    weights_digest,
)
from orchestrator.training.setup.parts import SetupParts, load_parts, load_tokens


class TrainingSession:
    """Makes trials; what they share is loaded on first use and never changed by them.

    Args:
        setup: What all trials of the sweep have in common.
        cache_dir: Folder of the cache of tokenised data and base scores, shared by the processes of a node.
        threads: Threads of torch in this process; None leaves them as they are.
        device: ``auto`` (an accelerator where there is one), ``cpu``, ``cuda`` or ``cuda:1``.

    Attributes:
        last_scores: The latest evaluation of a trial, with standard errors.
    """

    def __init__(self, setup: TrialSetup, cache_dir: Path, *, threads: int | None = None, device: str = "auto") -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        load_all(setup.plugins)
        self.setup, self.cache_dir, self.device = setup, cache_dir, pick_device(device)
        self._budgets = TokenBudgets(cache_dir / "token_budgets.json")
        self.last_scores: Scores | None = None

    @cached_property
    def parts(self) -> SetupParts:
        """Configuration, tokenizer, tokenised data and evaluation sets.

        Raises:
            InputError: If anything about model or data is wrong.
        """
        return load_parts(self.setup, self.cache_dir)

    @cached_property
    def base(self) -> nn.Module:
        """The untouched base model, on the CPU."""
        model = load_model(self.setup.model, self.setup.training, self.device)
        # Trials collect garbage when they close; what imports and this model left need not be searched
        # each time (a tenth of a second for nothing).
        gc.collect()
        gc.freeze()
        return model

    @cached_property
    def evaluator(self) -> Evaluator:
        """Scores models on the evaluation sets."""
        return Evaluator(self.parts.sets, self.parts.answer_tokens, self.setup.training.loss_chunk_tokens)

    @property
    def rows(self) -> int:
        """Number of training rows."""
        return len(self.parts.data.train)

    @property
    def train_digest(self) -> str:
        """Digest of the training rows."""
        return self.parts.data.train.digest

    def base_scores(self) -> dict[str, float]:
        """Return the scores of the untouched base on every evaluation set (forgetting is 0)."""
        values = dict(self.base_evaluation.values)
        return values | {f"{e.name}/{m}": 0.0 for e in self.parts.sets for m in kind_of(e.settings).zero_for_base}

    @cached_property
    def base_evaluation(self) -> Scores:
        """Scores of the untouched base with standard errors, computed once for all processes of a node."""
        path = self.cache_dir / "base_scores" / f"{self._base_key()}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            if path.exists():
                return Scores(**json.loads(path.read_text(encoding="utf-8")))
            scores = self._scores(fresh_copy(self.base, self.device), None, True, None, None, self._base_cache())
            if not any(name.endswith("/failures") and value for name, value in scores.values.items()):
                _write_whole(path, json.dumps(scores.as_dict()))
        return scores

    def evaluate(
        self,
        model: nn.Module,
        method: Method | None = None,
        *,
        final: bool = True,
        names: Sequence[str] | None = None,
        config: TrialConfig | None = None,
    ) -> Scores:
        """Score a model of this session (with forgetting against the base), with standard errors.

        Args:
            model: The (wrapped) model.
            method: The method that wrapped it.
            final: Whether sets that are evaluated only at the end are included.
            names: Only these sets; None: all.
            config: The trial's configuration; with it, scores of costly sets are taken from the cache where it has them.
        """
        chosen = [entry for entry in self.parts.sets if names is None or entry.name in names]
        needs_base = any(kind_of(entry.settings).needs_base(entry.settings) for entry in chosen)
        known = None if config is None or method is None else self.score_cache(method, model, config)
        base = self.base_evaluation if needs_base else None
        self.last_scores = self._scores(model, method, final, base, names, known)
        return self.last_scores

    def score_cache(self, method: Method, model: nn.Module, config: TrialConfig) -> ScoreCache:
        """Return the cache of a trained model's scores; `config` is the configuration that it was trained with."""

        def model_key() -> str:
            return self.trained_key(weights_key(method.trainable_state(model)), config)

        return ScoreCache(self.score_folder, model_key)

    def trained_key(self, weights: str, config: TrialConfig) -> str:
        """Return the key of a trained model: its weights (`weights_key`), and all that its other weights come from."""
        asked = build_method(config.method, config.method_options).needs_calibration
        rows = self.parts.data.train.digest if asked else ""
        return key_of("trained", weights, config.as_dict(), rows, self._base_parts())

    @property
    def score_folder(self) -> Path:
        """Where scores of costly sets are kept."""
        return self.cache_dir / "scores"

    def _base_cache(self) -> ScoreCache:
        return ScoreCache(self.score_folder, lambda: key_of("untrained", self._base_parts()))

    def trial(self, config: TrialConfig, trial_id: str) -> Trial:
        """Return a new trial with a model of its own.

        The same configuration gives the same trial, whatever ran in this process before.

        Raises:
            InputError: If method, options or configuration do not fit the model or the data.
        """
        method, model = self.wrapped(config)
        # A trial tries its model out when it is made, and float32 beside bfloat16 weights needs autocast.
        with self.autocast():
            return Trial(
                trial_id=trial_id,
                config=config,
                model=model,
                method=method,
                data=self.parts.data.train,
                settings=self.setup.training,
                device=self.device,
                pad_token_id=self.parts.answer_tokens.pad_id,
                evaluate=self._evaluate_trial,
                budgets=self._budgets,
            )

    def wrapped(self, config: TrialConfig) -> tuple[Method, nn.Module]:
        """Return a configuration's method and its untrained model, the same each time; no data are read unless it asks.

        Raises:
            InputError: If method or options do not fit the model.
        """
        method = build_method(config.method, config.method_options)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(config.seed)
            model = method.wrap_model(fresh_copy(self.base, self.device), self._context(config))
        _widen_trainable(model)
        return method, model

    @cached_property
    def tokens(self) -> Tokens:
        """Tokenizer and chat template; read by themselves where no data were asked for."""
        return self.parts.tokens if "parts" in self.__dict__ else load_tokens(self.setup.model)[1]

    def close(self) -> None:
        """Let go of model and data."""
        for name in ("base", "parts", "tokens", "evaluator", "base_evaluation"):
            self.__dict__.pop(name, None)
        gc.unfreeze()
        gc.collect()

    def _context(self, config: TrialConfig) -> MethodContext:
        tokenizer = self.tokens.tokenizer
        return MethodContext(
            steps=math.ceil(config.samples / config.effective_batch_size),
            seed=config.seed,
            effective_batch_size=config.effective_batch_size,
            pad_token_id=padding_id(tokenizer),
            tokenizer=tokenizer,
            calibration_batches=partial(self._calibration_batches, config),
        )

    def _calibration_batches(self, config: TrialConfig, samples: int) -> Iterator[Batch]:
        """Yield the first samples of the trial's own stream, one row each."""
        data = self.parts.data.train
        order = make_order(config.data_strategy, data, config.samples, config.seed)
        for row in order.slice(0, samples).tolist():
            yield pad_rows(data, [row], self.parts.answer_tokens.pad_id).to(self.device).as_batch()

    def _evaluate_trial(self, trial: Trial, final: bool) -> dict[str, float]:
        return self.evaluate(trial.model, trial.method, final=final, config=trial.config).values

    def _scores(
        self,
        model: nn.Module,
        method: Method | None,
        final: bool,
        base: Scores | None,
        names: Sequence[str] | None,
        known: ScoreCache | None,
    ) -> Scores:
        with self.autocast():
            return self.evaluator.evaluate(model, method, final=final, base=base, names=names, known=known)

    def autocast(self) -> torch.autocast:
        """Return the context in which models of this session compute."""
        bfloat16 = uses_bfloat16(self.setup.training, self.device.type == "cuda")
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bfloat16)

    def _base_key(self) -> str:
        sets = [[entry.name, settings_key(entry.settings), entry.digest] for entry in self.parts.sets]
        return key_of("base_scores", *self._base_parts(), sets)

    def _base_parts(self) -> list[str | None]:
        """Return all that the untouched base computes with."""
        model = self.setup.model
        dtype = str(training_dtype(self.setup.training, self.device))
        weights = weights_digest(find_model(model), model.revision)
        template = self.parts.tokens.template.text
        return [weights, dtype, model.attention, self.device.type, self.parts.tokens.digest, template]


def pick_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is an accelerator where there is one, else the CPU.

    Raises:
        InputError: If there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    here = ["auto", "cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    here += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if name not in here:
        raise InputError(
            "--device",
            value=name,
            rule=f"this machine has no such device; it has {', '.join(here[1:])}",
            mend=nearest(name, here) or "leave it out",
        )
    return torch.device(name)


def _widen_trainable(model: nn.Module) -> None:
    """Make trainable weights float32: at small learning rates a bfloat16 weight would not move."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in {torch.bfloat16, torch.float16}:
            parameter.data = parameter.data.float()


def _write_whole(path: Path, text: str) -> None:
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(draft, path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock so that one process computes while its siblings wait; without locks all compute."""
    with path.open("w") as stream:
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
