"""The JSON forms of results as the tables of the terminal read them: the fields that are shown, not all there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict


class ModelForm(TypedDict):
    """The base model."""

    path: str
    model_class: str
    parameters: int
    vocabulary: int
    length_limit: int | None
    dtype: str
    template: str
    end_of_turn: str


class RowsForm(TypedDict):
    """What became of the rows of the training data."""

    source: str
    format: str
    rows_found: int
    rows_kept: int
    rows_without_answer: int
    rows_too_long: int


class LengthsForm(TypedDict):
    """Lengths of the training rows in tokens."""

    rows: int
    tokens: int
    answer_tokens: int
    mean: float
    median: float
    longest: int


class PartForm(TypedDict):
    """One source of a mixture."""

    name: str
    source: str
    rows_usable: int
    rows: int


class EvaluationForm(TypedDict):
    """One evaluation set."""

    name: str
    kind: str
    source: str
    rows: int
    tokens: int


class SetupForm(TypedDict):
    """Model and data of a sweep."""

    model: ModelForm
    data: RowsForm
    train: LengthsForm
    duplicates: int
    phases: Mapping[str, int]
    replay: Mapping[str, float]
    parts: Sequence[PartForm]
    evaluation: Sequence[EvaluationForm]
    missing: Sequence[str]


class EntrypointForm(TypedDict):
    """Where the user's own training code is; digests by file."""

    label: str
    kind: str
    folder: str
    files: Mapping[str, str]


class SweepPlanForm(TypedDict):
    """What every trial of a sweep shares."""

    trials: int
    samples: int
    levels: Sequence[int]


class ClusterForm(TypedDict):
    """The cluster that a sweep runs on."""

    kind: str
    address: str | None


class EstimateForm(TypedDict):
    """What one trial takes; memory by part, in GiB."""

    memory: Mapping[str, float]
    trainable_parameters: int
    exact_parameters: bool
    seconds: float | None


class TrialForm(TypedDict):
    """One planned trial."""

    name: str
    steps: int
    warmup_steps: int
    samples: int
    tokens: int | None
    estimate: EstimateForm | None


class GpuCostForm(TypedDict):
    """What a sweep costs on one kind of GPU."""

    gpu: str
    memory_gib: float
    needed_gib: float
    fits: bool
    gpu_hours: float
    utilisation: float
    evidence: str


class ScoredTrialForm(TypedDict):
    """A trial of a compared sweep by the metric of the comparison."""

    name: str
    value: float
    standard_error: float | None
    learning_rate: float
    effective_batch_size: int


class ComparedSweepForm(TypedDict):
    """One column of a comparison."""

    label: str
    status: str
    winner: ScoredTrialForm | None
    runner_up: ScoredTrialForm | None
    difference: float | None
    difference_error: float | None
    standing: str
    base: float | None
    counts: Mapping[str, int]
    samples_trained: int
    samples_exhaustive: int
    saved_share: float
    training_seconds: float
    wall_seconds: float
    utilisation: float
    best_by_method: Mapping[str, ScoredTrialForm]


class DifferenceForm(TypedDict):
    """A field in which compared sweeps differ, and its value in each of them."""

    field: str
    values: Sequence[object]


class CapsuleLineForm(TypedDict):
    """One thing that a result depends on, as recorded and as it is here."""

    what: str
    agreement: str
    before: str
    now: str


class MetricSamenessForm(TypedDict):
    """One score at one milestone, before and now."""

    metric: str
    samples_seen: int
    before: float
    now: float | None
    standard_error: float | None
    verdict: str


class SignalSamenessForm(TypedDict):
    """The training signals, before and now."""

    steps: int
    first_difference: int | None
    loss: float
    grad_norm: float
    verdict: str


class ScoredModelForm(TypedDict):
    """Scores of one checkpoint, or of the base model (``trial_id`` empty)."""

    trial_id: str
    name: str
    scores: Mapping[str, float]
    standard_errors: Mapping[str, float]
    cached: bool
    tracked: bool


class FindingForm(TypedDict):
    """One finding of ``doctor``."""

    check: str
    status: str
    text: str
    mend: str
