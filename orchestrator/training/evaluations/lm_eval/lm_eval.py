"""``lm_eval``: tasks of EleutherAI's lm-eval on a trial's model in memory."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
from collections.abc import Iterator, Mapping

import numpy as np

from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.data.token_cache import TokenisedData
from orchestrator.training.evaluations.contract.evaluation import Metric, Scorer, SetScores, SetSources, Subject
from orchestrator.training.evaluations.contract.packages import needed

BOOTSTRAP_ITERATIONS = 1000
"""For metrics whose standard error has no formula; lm-eval's 100,000 would take minutes for each."""


class LmEvalScorer(Scorer):
    """lm-eval's tasks, prompts, filters and metrics; the model's part is ours."""

    def prepare(self, settings: EvaluationSet, sources: SetSources) -> PreparedSet:
        """See `Scorer.prepare`; loads the tasks with their documents."""
        needed(settings.name, "lm_eval")
        from orchestrator.training.evaluations.lm_eval.tasks import load_tasks

        with quiet():
            tasks = load_tasks(settings, sources.cache_dir)
        empty = TokenisedData(
            np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.bool_), np.zeros(1, dtype=np.int64), tasks.digest
        )
        note = {
            "parts": [],
            "scored": tasks.documents,
            "metrics": list(tasks.metrics),
            "source": ", ".join(settings.tasks),
        }
        return PreparedSet(settings, empty, {**note, "tasks": tasks.loaded})

    def score(self, entry: PreparedSet, subject: Subject) -> SetScores:
        """See `Scorer.score`."""
        from lm_eval.evaluator import evaluate

        from orchestrator.training.evaluations.lm_eval.model import SubjectModel
        from orchestrator.training.evaluations.lm_eval.tasks import reported

        settings, loaded = entry.settings, entry.note["tasks"]
        with quiet():
            found = evaluate(
                SubjectModel(subject),
                loaded,
                limit=settings.limit,
                bootstrap_iters=BOOTSTRAP_ITERATIONS,
                log_samples=False,
                apply_chat_template=settings.prompt == "chat",
                fewshot_as_multiturn=settings.prompt == "chat",
                confirm_run_unsafe_code=settings.unsafe_code,
            )
        metrics: dict[str, Metric] = {}
        for name in reported(settings.tasks, loaded):
            metrics |= _metrics(name, found["results"][name])
        return SetScores(metrics)


def _metrics(task: str, values: Mapping[str, object]) -> dict[str, Metric]:
    """Return lm-eval's ``METRIC,FILTER`` keys as ours, with their standard errors (NaN for ``N/A``)."""
    from orchestrator.training.evaluations.lm_eval.tasks import metric_name

    metrics = {}
    for key, value in values.items():
        metric, comma, rule = key.partition(",")
        if comma and not metric.endswith("_stderr") and isinstance(value, (int, float)):
            error = values.get(f"{metric}_stderr,{rule}")
            metrics[metric_name(task, metric, rule)] = (
                float(value),
                float(error) if isinstance(error, (int, float)) else math.nan,
            )
    return metrics


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars and remarks off the terminal, and bootstraps in this process (a worker must not fork)."""
    logger = logging.getLogger("lm_eval")
    level, before = logger.level, os.environ.get("DISABLE_MULTIPROC")
    logger.setLevel(logging.ERROR)
    os.environ["DISABLE_MULTIPROC"] = "1"
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
        if before is None:
            del os.environ["DISABLE_MULTIPROC"]
        else:
            os.environ["DISABLE_MULTIPROC"] = before
