"""What a sweep is trained on: sources, phases, mixtures, and what is expected of data that is not here yet.

Standard-library dataclasses, validated by pydantic when they come from a YAML file; see `orchestrator.settings.trial_setup`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

DataFormat = Literal["auto", "messages", "prompt_completion", "alpaca", "question_answer", "sharegpt"]
Tag = str | bool | int
CLOSED: dict[str, object] = {"extra": "forbid", "allow_inf_nan": False}


def about(description: str, **bounds: object) -> dict[str, object]:
    """Return the metadata of a field: its description and bounds, for pydantic and for the reference page."""
    return {"description": description, **bounds}


@dataclass(frozen=True)
class Phase:
    """One named part of the training data, trained in the order of the list under `phased`.

    Its rows come from a source of its own (`train`), or they are the rows of the sweep's data that carry a tag
    (`where`), or a share of them by the length of the answer (`share`). All phases of a sweep use the same of these.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = CLOSED
    name: str = field(metadata=about("Name of the phase.", min_length=1))
    train: str = field(default="", metadata=about("Where its rows come from, as in `data.train`."))
    where: dict[str, Tag | list[Tag]] = field(
        default_factory=dict,
        metadata=about(
            "Rows of `data.train` or `data.mixture` whose column has this value, or one of these: "
            "`{phase: knowledge}`. A dot leads into a column that holds an object, or an object as JSON text."
        ),
    )
    share: float | None = field(
        default=None,
        metadata=about(
            "Share of the rows of `data.train` or `data.mixture`, in the order of the length of their answers, "
            "shortest first; the shares of all phases add up to 1.",
            gt=0,
            le=1,
        ),
    )
    replay: float = field(
        default=0.0,
        metadata=about(
            "Rows of earlier phases that are trained again in this one, under `phased` only: so many, as a share of "
            "all rows of the earlier phases, drawn with the trial's seed.",
            ge=0,
            le=1,
        ),
    )


@dataclass(frozen=True)
class MixturePart:
    """One named source of a mixture: a weight, a number of rows, or (without both) all its rows."""

    __pydantic_config__: ClassVar[dict[str, object]] = CLOSED
    name: str = field(metadata=about("Name of the part.", min_length=1))
    train: str = field(metadata=about("Where its rows come from, as in `data.train`.", min_length=1))
    weight: float | None = field(
        default=None, metadata=about("Share of the mixture, relative to the weights of all parts.", gt=0)
    )
    rows: int | None = field(default=None, metadata=about("Rows that are drawn from it, each at most once.", ge=1))
    format: DataFormat = field(default="auto", metadata=about("Shape of its rows; auto detects it."))
    columns: dict[str, str] = field(default_factory=dict, metadata=about("Role to column, as in `data.columns`."))


@dataclass(frozen=True)
class ExpectedData:
    """What the data will be like, so that `validate` and `plan` work before data and weights are there.

    A run needs the data itself; once model and data are there, these figures are not used.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = CLOSED
    rows: int = field(metadata=about("Rows of the training data, those that will be held out included.", ge=2))
    mean_tokens: float = field(metadata=about("Mean tokens of a row, prompt and answer.", gt=0))
    answer_share: float = field(
        default=0.5, metadata=about("Share of the tokens that are learned (answers).", gt=0, le=1)
    )
    longest: int = field(default=4096, metadata=about("Tokens of the longest row that is kept.", ge=1))


@dataclass(frozen=True)
class DataSettings:
    """The training data and how its rows become tokens."""

    __pydantic_config__: ClassVar[dict[str, object]] = CLOSED
    train: str = field(
        default="",
        metadata=about(
            "A .jsonl, .json, .parquet or .csv file, a folder of such files, a folder of InstructLab `qna.yaml` files, "
            "a hub id, or `testbed:sft`. Empty when the rows come from a `mixture`, or from phases with sources of their own."
        ),
    )
    split: str = field(default="train", metadata=about("Split to take from a hub data set or saved data set."))
    format: DataFormat = field(default="auto", metadata=about("Shape of the rows; auto detects it."))
    columns: dict[str, str] = field(
        default_factory=dict,
        metadata=about("Role to column, e.g. {prompt: ask, completion: reply}, where names differ from the shape's."),
    )
    mixture: list[MixturePart] = field(
        default_factory=list,
        metadata=about("Named sources that together are the training data, each with a weight or a number of rows."),
    )
    held_out: float | str = field(
        default=0.05,
        metadata=about("Held-out rows: a share (0 to 1), a count (>= 1), or a source of their own; 0 for none."),
    )
    limit: int | None = field(
        default=None,
        metadata=about("Use at most this many rows of each source; of a mixture, as many in all.", ge=1),
    )
    max_length: int | None = field(
        default=None, metadata=about("Longest sequence in tokens; default: what the model can take.", ge=8)
    )
    too_long: Literal["error", "drop", "truncate"] = field(
        default="error", metadata=about("What to do with rows longer than `max_length`.")
    )
    missing_answer: Literal["error", "drop"] = field(
        default="error", metadata=about("What to do with rows that have no answer to learn.")
    )
    phases: list[Phase] = field(
        default_factory=list, metadata=about("Named parts of the data for the `phased` data strategy.")
    )
    split_seed: int = field(
        default=0, metadata=about("Seed of the held-out split and of the rows that a mixture draws.", ge=0)
    )
    expected: ExpectedData | None = field(
        default=None,
        metadata=about("What the data will be like: lets `validate` and `plan` work without model and data."),
    )

    @property
    def sources(self) -> tuple[str, ...]:
        """References of all training sources, in order."""
        if self.mixture:
            return tuple(part.train for part in self.mixture)
        return (self.train,) if self.train else tuple(phase.train for phase in self.phases)

    @property
    def label(self) -> str:
        """The training data as shown to people."""
        return ", ".join(self.sources)


# Fields that came later and whose defaults change nothing: left out of a sweep's content, so that earlier sweeps still resume.
_LATER_PHASE_FIELDS: dict[str, object] = {"train": "", "where": {}, "share": None, "replay": 0.0}


def defining_data(values: Mapping[str, Any]) -> dict[str, object]:
    """Return data settings as a mapping, without what is only expected of the data and without later fields at defaults.

    Args:
        values: All fields of `DataSettings`, as JSON values.
    """
    phases = [
        {key: value for key, value in phase.items() if value != _LATER_PHASE_FIELDS.get(key, object)}
        for phase in values["phases"]
    ]
    whole = {**values, "phases": phases}
    return {key: value for key, value in whole.items() if key != "expected" and (key != "mixture" or value)}


class Problem(NamedTuple):
    """Settings that contradict each other: the field below ``data``, its value, the rule and the mend."""

    field: str
    value: object
    rule: str
    mend: str = ""


def find_problem(data: DataSettings) -> Problem | None:
    """Return the first contradiction of data settings, or None where they hang together."""
    return next(_problems(data), None)


def _problems(data: DataSettings) -> Iterator[Problem]:
    given = [name for name, value in (("train", data.train), ("mixture", data.mixture)) if value]
    own = [phase for phase in data.phases if phase.train]
    if len(given) == 2:
        yield Problem(
            "train",
            data.train,
            "the mixture is the training data, so train must stay empty",
            "remove data.train or data.mixture",
        )
    if given and own:
        yield Problem(
            given[0],
            data.train or None,
            f"the phases are the training data, so {given[0]} must stay empty",
            f"remove data.{given[0]}, or let the phases divide it with where or share",
        )
    if not given and not data.phases:
        yield Problem("train", None, "the training data is missing", "give a file, folder, hub id or testbed:sft")
    yield from _doubled("phases", [phase.name for phase in data.phases], "phases")
    yield from _doubled("mixture", [part.name for part in data.mixture], "parts of a mixture")
    yield from _phase_problems(data, bool(given))
    yield from _mixture_problems(data.mixture)


def _doubled(place: str, names: Sequence[str], what: str) -> Iterator[Problem]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Problem(f"{place}.{index}.name", name, f"{what} need different names")


def _phase_problems(data: DataSettings, has_data: bool) -> Iterator[Problem]:
    kinds: list[str] = []
    for index, phase in enumerate(data.phases):
        place = f"phases.{index}"
        filled = [("train", bool(phase.train)), ("where", bool(phase.where)), ("share", phase.share is not None)]
        named = [name for name, is_given in filled if is_given]
        if len(named) != 1:
            found = " and ".join(named) or "none of them"
            yield Problem(
                place,
                phase.name,
                f"a phase takes its rows by one of train, where and share, this one has {found}",
                "e.g. {name: skills, train: ./skills.jsonl}",
            )
            return
        kinds += named
        if kinds[0] != kinds[-1]:
            yield Problem(
                f"{place}.{kinds[-1]}",
                phase.name,
                f"the first phase takes its rows by {kinds[0]}, so all must",
                f"give {kinds[0]} here as well",
            )
        if kinds[-1] != "train" and not has_data:
            yield Problem(
                place,
                phase.name,
                f"{kinds[-1]} divides the rows of data.train or data.mixture, and neither is given",
                "give data.train",
            )
        if any(isinstance(values, list) and not values for values in phase.where.values()):
            yield Problem(f"{place}.where", phase.where, "an empty list of values fits no row")
    if data.phases and data.phases[0].replay:
        yield Problem("phases.0.replay", data.phases[0].replay, "the first phase has no earlier one to replay")
    total = math.fsum(phase.share or 0.0 for phase in data.phases)
    if "share" in kinds and abs(total - 1) > 1e-9:
        yield Problem("phases", total, "the shares of the phases must add up to 1, so that no row is lost or doubled")


def _mixture_problems(parts: Sequence[MixturePart]) -> Iterator[Problem]:
    weighted = [part.weight is not None for part in parts]
    for index, part in enumerate(parts):
        if part.weight is not None and part.rows is not None:
            yield Problem(f"mixture.{index}.rows", part.rows, "a part has a weight or a number of rows, not both")
        elif any(weighted) and not weighted[index]:
            yield Problem(
                f"mixture.{index}",
                part.name,
                "other parts have weights, so this one needs a weight too",
                "give every part a weight, or none",
            )
