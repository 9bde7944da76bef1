"""``judge``: two-turn answers graded by another model, as in MT-Bench; failures are counted and are never a score.

Pairwise, every answer is compared with the baseline's in both orders; a win counts 1, a tie or two verdicts that contradict
each other 1/2. Questions are the sampling unit of all standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import tokenizers

from orchestrator.errors import DataError, nearest
from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.training.data.conversations import ASSISTANT, USER, Message
from orchestrator.training.data.files import Row
from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.data.sources import open_source
from orchestrator.training.data.token_cache import Meta, key_of, open_or_build
from orchestrator.training.data.token_rows import Ids, TokenRow
from orchestrator.training.evaluations.contract.evaluation import (
    Metric,
    Scorer,
    SetScores,
    SetSources,
    Subject,
    ratio_with_error,
)
from orchestrator.training.evaluations.contract.prompts import prompt_rows
from orchestrator.training.evaluations.judge.client import JudgeClient
from orchestrator.training.evaluations.judge.prompts import Task, comparing, grading, read_rating, read_verdict

Answers = Mapping[str, Sequence[str]]
_POINTS = {"AB": 1.0, "BA": 0.0}


class JudgeScorer(Scorer):
    """Greedy answers to one or two turns, and a judge's opinion of them."""

    def prepare(self, settings: EvaluationSet, sources: SetSources) -> PreparedSet:
        """See `Scorer.prepare`; rows have ``turns``, and may have ``question_id`` and ``reference``."""
        assert settings.judge is not None, "the sweep file was checked"
        tokens, source = sources.tokens, open_source(settings.data, sources.data.split)
        rows, numbers = source.sample(settings.limit)
        found = [_task(row, number, settings.data) for row, number in zip(rows, numbers, strict=True)]
        texts = [tokens.template.prompt(tokens.tokenizer, (Message(USER, task.turns[0]),)) for task in found]
        asked = [[task.key, task.turns, task.reference] for task in found]
        spelling = [tokens.digest, tokens.template.text, tokens.model_length, sources.too_long(settings)]

        def build() -> tuple[list[TokenRow], Meta]:
            made, places = prompt_rows(texts, tokens, settings, sources.too_long(settings))
            part = {"rows_found": len(rows), "rows_kept": len(places), "source": settings.data}
            return made, {"parts": [part], "kept": places}

        stored = open_or_build(sources.cache_dir, key_of("judge", asked, spelling, tokenizers.__version__), build)
        tasks = [found[place] for place in stored.meta["kept"]]
        baseline = {} if settings.judge.baseline == "base" else _read_baseline(settings, tasks)
        references = [asked[place] for place in stored.meta["kept"]]
        note = {**stored.meta, "tasks": tasks, "references": references, "baseline": baseline}
        return PreparedSet(settings, stored.data, note)

    def check(self, entry: PreparedSet) -> str:
        """See `Scorer.check`; the judge must answer a short question."""
        assert entry.settings.judge is not None, "the sweep file was checked"
        JudgeClient(entry.settings.judge).check(entry.name)
        return f"the judge {entry.settings.judge.model} answers"

    def score(self, entry: PreparedSet, subject: Subject) -> SetScores:
        """See `Scorer.score`."""
        judge, tasks = entry.settings.judge, entry.note["tasks"]
        assert judge is not None, "the sweep file was checked"
        answers = two_turn_answers(tasks, [entry.data[row][0] for row in range(len(entry.data))], entry, subject)
        if judge.grading == "single":
            return SetScores(_graded(tasks, answers, JudgeClient(judge)), answers=answers)
        baseline = entry.note["baseline"] or subject.base_answers.get(entry.name)
        if baseline is None:
            # This is the base model itself: as good as itself.
            return SetScores({"win_rate": (0.5, 0.0), "failures": (0.0, 0.0)}, answers=answers)
        return SetScores(_compared(tasks, answers, baseline, JudgeClient(judge)), answers=answers)


def two_turn_answers(
    tasks: Sequence[Task], prompts: Sequence[Ids], entry: PreparedSet, subject: Subject
) -> dict[str, list[str]]:
    """Return the model's answers by key: the second with question and answer of the first turn before it."""
    template, tokenizer = subject.tokens.template, subject.tokens.tokenizer
    assert template is not None, "sessions always know their template"
    new_tokens = entry.settings.max_new_tokens
    answers = {
        task.key: [subject.text(ids)] for task, ids in zip(tasks, subject.answers(prompts, new_tokens), strict=True)
    }
    later = [task for task in tasks if len(task.turns) > 1]
    limit = subject.tokens.length_limit
    second: list[Ids] = []
    for task in later:
        turns = (Message(USER, task.turns[0]), Message(ASSISTANT, answers[task.key][0]), Message(USER, task.turns[1]))
        ids = tokenizer(template.prompt(tokenizer, turns), add_special_tokens=False, verbose=False)["input_ids"]
        # A long first answer loses its beginning, so that there is room for the second.
        room = len(ids) if limit is None else max(1, limit - min(new_tokens, limit // 2))
        second.append(np.asarray(ids[-room:], dtype=np.int32))
    if later:
        for task, ids in zip(later, subject.answers(second, new_tokens), strict=True):
            answers[task.key].append(subject.text(ids))
    return answers


def _graded(tasks: Sequence[Task], answers: Answers, client: JudgeClient) -> dict[str, Metric]:
    places = [(number, turn) for number, task in enumerate(tasks) for turn in range(len(task.turns))]
    said = client.ask_all([grading(tasks[number], answers[tasks[number].key], turn) for number, turn in places])
    grades = [None if text is None else read_rating(text) for text in said]
    metrics = {"score": _mean_by_question(places, grades, len(tasks))}
    for turn, name in enumerate(("score_first_turn", "score_second_turn")):
        of_turn = [(place, grade) for place, grade in zip(places, grades, strict=True) if place[1] == turn]
        metrics[name] = _mean_by_question([place for place, _ in of_turn], [grade for _, grade in of_turn], len(tasks))
    return metrics | {"failures": (float(sum(grade is None for grade in grades)), 0.0)}


def _compared(tasks: Sequence[Task], answers: Answers, baseline: Answers, client: JudgeClient) -> dict[str, Metric]:
    places = [(number, turn) for number, task in enumerate(tasks) for turn in range(len(task.turns))]
    asked = []
    for number, turn in places:
        task = tasks[number]
        asked.append(comparing(task, answers[task.key], baseline[task.key], turn))
        asked.append(comparing(task, baseline[task.key], answers[task.key], turn))
    said = [None if text is None else read_verdict(text) for text in client.ask_all(asked)]
    points = [_points(first, swapped) for first, swapped in zip(said[::2], said[1::2], strict=True)]
    failures = float(sum(verdict is None for verdict in said))
    return {"win_rate": _mean_by_question(places, points, len(tasks)), "failures": (failures, 0.0)}


def _points(first: str | None, swapped: str | None) -> float | None:
    """Return what two verdicts on the same pair, in both orders, are worth; None where one of them failed."""
    if first is None or swapped is None:
        return None
    return _POINTS.get(first + swapped, 0.5)


def _mean_by_question(places: Sequence[tuple[int, int]], values: Sequence[float | None], questions: int) -> Metric:
    """Return the mean of what was judged, with questions as the sampling unit; NaN where nothing was."""
    sums, counts = np.zeros(questions), np.zeros(questions)
    for (number, _), value in zip(places, values, strict=True):
        if value is not None:
            sums[number] += value
            counts[number] += 1
    judged = counts > 0
    return ratio_with_error(sums[judged], counts[judged]) if judged.any() else (math.nan, math.nan)


def _task(row: Row, number: int, where: str) -> Task:
    turns: object = row.get("turns")
    place = f"{where}: row {number}"
    if turns is None:
        raise DataError(
            place,
            "turns",
            rule=f"a judge needs rows with this column; the columns are {', '.join(row)}",
            mend=nearest("turns", row) or "give rows in the shape of MT-Bench",
        )
    if (
        not isinstance(turns, list)
        or not 1 <= len(turns) <= 2
        or not all(isinstance(turn, str) and turn.strip() for turn in turns)
    ):
        raise DataError(place, "turns", turns, "must be a list of one or two questions")
    reference = row.get("reference") or []
    if not isinstance(reference, list) or (reference and len(reference) != len(turns)):
        raise DataError(place, "reference", reference, "must have an answer to each turn")
    return Task(str(row.get("question_id", number)), tuple(turns), tuple(map(str, reference)))


def _read_baseline(settings: EvaluationSet, tasks: Sequence[Task]) -> dict[str, list[str]]:
    """Return the baseline's answers by key, from rows as MT-Bench keeps them (``choices``) or with ``turns``."""
    assert settings.judge is not None, "the sweep file was checked"
    where = settings.judge.baseline
    answers: dict[str, list[str]] = {}
    for row in open_source(where).rows():
        choices: object = row.get("choices")
        turns = choices[0].get("turns") if isinstance(choices, list) and choices else row.get("turns")
        answers[str(row.get("question_id"))] = list(turns or [])
    short = next((task for task in tasks if len(answers.get(task.key, [])) < len(task.turns)), None)
    if short is not None:
        raise DataError(
            where,
            "question_id",
            short.key,
            f"the baseline has no answer to each of the {len(short.turns)} turns of this question",
            "give rows with question_id and turns (the answers)",
        )
    return answers
