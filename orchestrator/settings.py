"""What stays the same for every trial of a sweep: model, data, evaluation, training settings.

Standard-library dataclasses, so that ``training/`` runs where pydantic is not installed; pydantic
validates the very same classes when they come from a YAML file (``metadata`` carries descriptions
and bounds for the JSON Schema).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

DataFormat = Literal["auto", "messages", "prompt_completion", "alpaca", "question_answer", "sharegpt"]
EvaluationKind = Literal["loss", "exact_match", "text_loss"]
_CLOSED: dict[str, Any] = {"extra": "forbid", "allow_inf_nan": False}


def _about(description: str, **bounds: Any) -> dict[str, Any]:
    return {"description": description, **bounds}


@dataclass(frozen=True)
class ModelSettings:
    """The base model."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _CLOSED
    path: str = field(metadata=_about("Folder, hub id, or `testbed` for the built-in base model."))
    revision: str | None = field(default=None, metadata=_about("Hub revision (branch, tag or commit)."))
    trust_remote_code: bool = field(
        default=False, metadata=_about("Run Python code that the model repository brings. Off unless you ask.")
    )
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = field(
        default="auto", metadata=_about("Attention implementation; auto picks SDPA.")
    )
    chat_template: str = field(
        default="auto",
        metadata=_about("`auto` (the tokenizer's own, else the documented default), `default`, or a Jinja file."),
    )


@dataclass(frozen=True)
class Phase:
    """One named part of the training data, trained in the order of the list under `phased`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _CLOSED
    name: str = field(metadata=_about("Name of the phase.", min_length=1))
    train: str = field(metadata=_about("Where its rows come from, as in `data.train`."))


@dataclass(frozen=True)
class DataSettings:
    """The training data and how its rows become tokens."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _CLOSED
    train: str = field(
        default="",
        metadata=_about(
            "A .jsonl, .json, .parquet or .csv file, a folder of such files, a hub id, or `testbed:sft`. "
            "May be empty when `phases` are given: then the phases together are the training data."
        ),
    )
    split: str = field(default="train", metadata=_about("Split to take from a hub data set or saved data set."))
    format: DataFormat = field(default="auto", metadata=_about("Shape of the rows; auto detects it."))
    columns: dict[str, str] = field(
        default_factory=dict,
        metadata=_about("Role to column, e.g. {prompt: ask, completion: reply}, where names differ from the shape's."),
    )
    held_out: float | str = field(
        default=0.05,
        metadata=_about("Held-out rows: a share (0 to 1), a count (>= 1), or a source of their own; 0 for none."),
    )
    limit: int | None = field(default=None, metadata=_about("Use at most this many rows.", ge=1))
    max_length: int | None = field(
        default=None, metadata=_about("Longest sequence in tokens; default: what the model can take.", ge=8)
    )
    too_long: Literal["error", "drop", "truncate"] = field(
        default="error", metadata=_about("What to do with rows longer than `max_length`.")
    )
    missing_answer: Literal["error", "drop"] = field(
        default="error", metadata=_about("What to do with rows that have no answer to learn.")
    )
    phases: list[Phase] = field(
        default_factory=list, metadata=_about("Named parts of the data for the `phased` data strategy.")
    )
    split_seed: int = field(default=0, metadata=_about("Seed of the held-out split.", ge=0))


@dataclass(frozen=True)
class EvaluationSet:
    """One named evaluation set.

    Metrics by kind: `loss` gives `NAME/loss` (token-mean cross-entropy on answers); `exact_match` gives
    `NAME/exact_match` (0 to 1); `text_loss` gives `NAME/loss` on plain text and `NAME/forgetting`
    (its increase over the base model, nats per token).
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _CLOSED
    name: str = field(metadata=_about("Name; the first part of its metrics.", pattern=r"^[A-Za-z0-9_.-]+$"))
    kind: EvaluationKind = field(default="loss", metadata=_about("loss, exact_match or text_loss."))
    data: str = field(
        default="held_out", metadata=_about("`held_out`, or a source as in `data.train` (text files for text_loss).")
    )
    format: DataFormat = field(default="auto", metadata=_about("Shape of the rows; auto detects it."))
    columns: dict[str, str] = field(default_factory=dict, metadata=_about("Role to column, as in `data.columns`."))
    limit: int | None = field(default=None, metadata=_about("Use at most this many rows.", ge=1))
    max_new_tokens: int = field(default=32, metadata=_about("Longest generated answer (exact_match).", ge=1))
    when: Literal["milestones", "end"] = field(
        default="milestones", metadata=_about("Evaluate at every milestone, or only at the end.")
    )


@dataclass(frozen=True)
class TrainingSettings:
    """How every trial trains, whatever its configuration. None of it changes a result beyond rounding."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _CLOSED
    micro_batch_tokens: int | None = field(
        default=None,
        metadata=_about("Token budget of one micro-batch (padding counted); default: chosen from the memory.", ge=1),
    )
    precision: Literal["auto", "float32", "bfloat16"] = field(
        default="auto", metadata=_about("auto: bfloat16 on GPU, float32 on CPU.")
    )
    gradient_checkpointing: bool = field(default=False, metadata=_about("Trade compute for activation memory."))
    compile: bool = field(default=False, metadata=_about("Compile the model with torch.compile."))
    loss_chunk_tokens: int = field(
        default=4096, metadata=_about("Answer tokens per chunk of the cross-entropy (bounds logits memory).", ge=16)
    )


@dataclass(frozen=True)
class EntrypointSettings:
    """Training code of your own, trained by the sweep instead of `model`, `data` and `evaluation`.

    Exactly one of `function` and `command` is given. The code runs in a process of its own for each trial.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _CLOSED
    function: str = field(
        default="",
        metadata=_about("`FILE.py:FUNCTION` or `PACKAGE.MODULE:FUNCTION`; it is called with the trial."),
    )
    command: list[str] = field(
        default_factory=list,
        metadata=_about(
            "A command as a list of words; `{learning_rate}` and other names in braces stand for the trial's values."
        ),
    )
    folder: str = field(
        default="", metadata=_about("Where the code is found and runs; default: the folder of the sweep file.")
    )
    inputs: list[str] = field(
        default_factory=list,
        metadata=_about("Further files that the code reads; a sweep is not resumed once one of them has changed."),
    )
    grace_seconds: float = field(
        default=10.0, metadata=_about("How long the code may take to return once it was told to stop.", ge=0)
    )
    preload: bool = field(
        default=True,
        metadata=_about(
            "Whether each worker imports the installed libraries of a function's file once and forks the trials' "
            "processes from there, so that they start at once."
        ),
    )
    silent_minutes: float = field(
        default=60.0, metadata=_about("A trial that reports nothing for so long has failed.", gt=0)
    )

    @property
    def label(self) -> str:
        """The entrypoint as shown to people."""
        return self.function or " ".join(self.command)


@dataclass(frozen=True)
class TrialSetup:
    """Everything a worker needs besides the trial's own configuration."""

    model: ModelSettings
    data: DataSettings
    evaluation: tuple[EvaluationSet, ...]
    training: TrainingSettings
