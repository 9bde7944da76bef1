"""What stays the same for every trial of a sweep: model, data, evaluation, training settings.

Standard-library dataclasses, so that ``training/`` runs where pydantic is not installed; pydantic
validates the very same classes when they come from a YAML file (``metadata`` carries descriptions
and bounds for the JSON Schema).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from orchestrator.plugins.code import PluginCode
from orchestrator.settings.data import CLOSED, about
from orchestrator.settings.data import DataFormat as DataFormat
from orchestrator.settings.data import DataSettings as DataSettings
from orchestrator.settings.data import ExpectedData as ExpectedData
from orchestrator.settings.data import MixturePart as MixturePart
from orchestrator.settings.data import Phase as Phase
from orchestrator.settings.evaluation import EvaluationSet as EvaluationSet
from orchestrator.settings.evaluation import JudgeSettings as JudgeSettings


@dataclass(frozen=True)
class ModelSettings:
    """The base model."""

    __pydantic_config__: ClassVar[dict[str, object]] = CLOSED
    path: str = field(metadata=about("Folder, hub id, or `testbed` for the built-in base model."))
    revision: str | None = field(default=None, metadata=about("Hub revision (branch, tag or commit)."))
    trust_remote_code: bool = field(
        default=False, metadata=about("Run Python code that the model repository brings. Off unless you ask.")
    )
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = field(
        default="auto", metadata=about("Attention implementation; auto picks SDPA.")
    )
    chat_template: str = field(
        default="auto",
        metadata=about("`auto` (the tokenizer's own, else the documented default), `default`, or a Jinja file."),
    )


@dataclass(frozen=True)
class TrainingSettings:
    """How every trial trains, whatever its configuration. None of it changes a result beyond rounding."""

    __pydantic_config__: ClassVar[dict[str, object]] = CLOSED
    micro_batch_tokens: int | None = field(
        default=None,
        metadata=about("Token budget of one micro-batch (padding counted); default: chosen from the memory.", ge=1),
    )
    precision: Literal["auto", "float32", "bfloat16"] = field(
        default="auto", metadata=about("auto: bfloat16 on GPU, float32 on CPU.")
    )
    gradient_checkpointing: bool = field(default=False, metadata=about("Trade compute for activation memory."))
    compile: bool = field(default=False, metadata=about("Compile the model with torch.compile."))
    loss_chunk_tokens: int = field(
        default=4096, metadata=about("Answer tokens per chunk of the cross-entropy (bounds logits memory).", ge=16)
    )


@dataclass(frozen=True)
class EntrypointSettings:
    """Training code of your own, trained by the sweep instead of `model`, `data` and `evaluation`.

    Exactly one of `function` and `command` is given. The code runs in a process of its own for each trial.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = CLOSED
    function: str = field(
        default="",
        metadata=about("`FILE.py:FUNCTION` or `PACKAGE.MODULE:FUNCTION`; it is called with the trial."),
    )
    command: list[str] = field(
        default_factory=list,
        metadata=about(
            "A command as a list of words; `{learning_rate}` and other names in braces stand for the trial's values."
        ),
    )
    folder: str = field(
        default="", metadata=about("Where the code is found and runs; default: the folder of the sweep file.")
    )
    inputs: list[str] = field(
        default_factory=list,
        metadata=about("Further files that the code reads; a sweep is not resumed once one of them has changed."),
    )
    grace_seconds: float = field(
        default=10.0, metadata=about("How long the code may take to return once it was told to stop.", ge=0)
    )
    preload: bool = field(
        default=True,
        metadata=about(
            "Whether each worker imports the installed libraries of a function's file once and forks the trials' "
            "processes from there, so that they start at once."
        ),
    )
    silent_minutes: float = field(
        default=60.0, metadata=about("A trial that reports nothing for so long has failed.", gt=0)
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
    plugins: tuple[PluginCode, ...] = ()
