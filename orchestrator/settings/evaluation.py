"""Evaluation sets as a sweep file names them; standard-library dataclasses, as in `orchestrator.settings.trial_setup`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from orchestrator.settings.data import CLOSED, DataFormat, about


@dataclass(frozen=True)
class JudgeSettings:
    """The judge of a `judge` set: a chat model behind an OpenAI-compatible endpoint, which grades two-turn answers."""

    __pydantic_config__: ClassVar[dict[str, object]] = CLOSED
    base_url: str = field(
        metadata=about("Address up to `/v1`, e.g. `http://127.0.0.1:8000/v1`.", pattern=r"^https?://")
    )
    model: str = field(metadata=about("Name of the judging model at the endpoint.", min_length=1))
    api_key_env: str = field(
        default="", metadata=about("Environment variable that holds the key; empty: none is sent. Never written down.")
    )
    grading: Literal["single", "pairwise"] = field(
        default="single",
        metadata=about(
            "single: a grade from 1 to 10 per turn; pairwise: better or worse than `baseline`, asked in both orders."
        ),
    )
    baseline: str = field(
        default="base",
        metadata=about(
            "Pairwise: `base` (the base model's own answers), or a file of rows with `question_id` and `turns`."
        ),
    )
    concurrency: int = field(default=8, metadata=about("Requests at once.", ge=1, le=256))
    timeout_seconds: float = field(default=120.0, metadata=about("Time limit of one request.", gt=0))
    retries: int = field(
        default=3, metadata=about("Further attempts after a failure that may pass, with growing pauses.", ge=0, le=20)
    )
    max_minutes: float = field(
        default=30.0, metadata=about("Time limit of one evaluation; what is not judged by then counts as failed.", gt=0)
    )


@dataclass(frozen=True)
class EvaluationSet:
    """One named evaluation set. Metrics by kind, each with its standard error.

    `loss`: `NAME/loss`, the token-mean cross-entropy on answers. `text_loss`: `NAME/loss` on plain text and
    `NAME/forgetting`, its increase over the base model (nats per token). `exact_match`: `NAME/exact_match` (0 to 1).
    `multiple_choice`: `NAME/accuracy` and `NAME/accuracy_normalised` by log-likelihood. `instructions` (IFEval):
    `NAME/prompt_strict`, `NAME/prompt_loose`, `NAME/instruction_strict`, `NAME/instruction_loose`. `lm_eval`:
    `NAME/TASK/METRIC`. `judge`: `NAME/score` (1 to 10) or `NAME/win_rate` (0 to 1), and `NAME/failures`.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = CLOSED
    name: str = field(metadata=about("Name; the first part of its metrics.", pattern=r"^[A-Za-z0-9_.-]+$"))
    kind: str = field(default="loss", metadata=about("How it is scored."))
    data: str = field(
        default="held_out", metadata=about("`held_out`, or a source as in `data.train` (text files for text_loss).")
    )
    format: DataFormat = field(default="auto", metadata=about("Shape of the rows; auto detects it."))
    columns: dict[str, str] = field(default_factory=dict, metadata=about("Role to column, as in `data.columns`."))
    limit: int | None = field(default=None, metadata=about("Use at most this many rows (lm_eval: of each task).", ge=1))
    max_new_tokens: int = field(
        default=32, metadata=about("Longest generated answer (exact_match, instructions, judge).", ge=1)
    )
    when: Literal["milestones", "end"] | None = field(
        default=None,
        metadata=about("Evaluate at every milestone, or only at the end; default: milestones, of a detached set end."),
    )
    too_long: Literal["error", "drop", "truncate"] | None = field(
        default=None,
        metadata=about(
            "multiple_choice, instructions, judge: questions longer than the model can take; default: as `data.too_long`. "
            "truncate cuts the beginning of multiple-choice prompts, and drops others."
        ),
    )
    detached: bool = field(
        default=False,
        metadata=about(
            "Score checkpoints in a process beside the trials that holds no slot (`resources.detached_cpu`, `detached_gpu`): each "
            "trial once, after its end, or with `when: milestones` the checkpoint of every milestone. Its metrics cannot be judged by."
        ),
    )
    perplexity: bool = field(
        default=False, metadata=about("Also give `NAME/perplexity`, exp of the loss (loss, text_loss).")
    )
    extract: str = field(
        default="",
        metadata=about(
            "exact_match: a regular expression; only its first group's first match is compared, in answer and reference "
            "alike, numbers by their value. For GSM8K: `#### (.*)`."
        ),
    )
    choices: Literal["texts", "letters"] = field(
        default="texts",
        metadata=about(
            "multiple_choice: score the choices' texts, or list them in the prompt and score their letters (as MMLU does)."
        ),
    )
    prompt: Literal["auto", "chat", "plain"] = field(
        default="auto",
        metadata=about(
            "multiple_choice, lm_eval: through the chat template or as plain text; auto: chat, and plain for lm_eval."
        ),
    )
    num_fewshot: int | None = field(
        default=None,
        metadata=about(
            "multiple_choice, lm_eval: solved examples in the prompt; default: none, or the task's own.", ge=0
        ),
    )
    fewshot_data: str = field(
        default="",
        metadata=about(
            "multiple_choice: where the examples come from; default: the first rows of `data`, which are then not scored."
        ),
    )
    tasks: list[str] = field(
        default_factory=list, metadata=about("lm_eval: names of tasks or groups, e.g. [mmlu, gsm8k, arc_challenge].")
    )
    task_folders: list[str] = field(
        default_factory=list,
        metadata=about("lm_eval: folders with task YAML files of your own; data files in them may be relative."),
    )
    unsafe_code: bool = field(
        default=False, metadata=about("lm_eval: run tasks that execute code which the model wrote. Off unless you ask.")
    )
    unverifiable: Literal["error", "drop"] = field(
        default="error", metadata=about("instructions: rows with rules that this machine cannot check.")
    )
    judge: JudgeSettings | None = field(default=None, metadata=about("judge: who judges, and how."))
    options: dict[str, Any] = field(
        default_factory=dict, metadata=about("Options of a scorer of your own (`kind: FILE.py:FUNCTION`).")
    )

    def __post_init__(self) -> None:
        if self.when is None:
            # Detached sets could once be scored at the end alone, and files that say nothing of it keep that meaning.
            object.__setattr__(self, "when", "end" if self.detached else "milestones")
