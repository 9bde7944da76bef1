"""The sweep file as typed, closed models. Importing this module needs pydantic only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from orchestrator.errors import SpecError, nearest
from orchestrator.settings import DataSettings, EvaluationSet, ModelSettings, TrainingSettings, TrialSetup
from orchestrator.spec.identity import digest
from orchestrator.spec.search_space import SearchSpace

SearcherKind = Literal["grid", "random", "sobol", "tpe", "gp", "nsga2"]


class Closed(BaseModel):
    """Base of all models here: immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _as_path(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


def _as_kind(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


def _as_metric(value: Any) -> Any:
    return {"metric": value} if isinstance(value, str) else value


class Constraint(Closed):
    """A bound that a winner must keep."""

    metric: str = Field(description="Metric that is bounded, e.g. `general/forgetting`.")
    at_most: float | None = Field(default=None, description="Largest allowed value.")
    at_least: float | None = Field(default=None, description="Smallest allowed value.")

    @model_validator(mode="after")
    def _one_bound(self) -> Constraint:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"a constraint on {self.metric} needs exactly one of at_most, at_least")
        return self


class ObjectiveSpec(Closed):
    """What best means."""

    metric: str | dict[str, float] = Field(
        default="eval/loss", description="A metric, or a weighted sum of metrics as {metric: weight}."
    )
    mode: Literal["min", "max"] = Field(default="min", description="Whether lower (min) or higher (max) is better.")
    constraints: list[Constraint] = Field(default_factory=list, description="Bounds that a winner must keep.")

    @property
    def weights(self) -> dict[str, float]:
        """The objective as metric -> weight."""
        return {self.metric: 1.0} if isinstance(self.metric, str) else dict(self.metric)

    @property
    def label(self) -> str:
        """The objective as shown in tables."""
        if isinstance(self.metric, str):
            return self.metric
        return " + ".join(f"{weight:g} {name}" for name, weight in self.metric.items())


class SearcherSpec(Closed):
    """How configurations are proposed."""

    kind: SearcherKind = Field(
        default="sobol",
        description="grid (every combination), random, sobol (quasi-random), tpe, gp (one objective), nsga2 (several).",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the searcher.")
    startup_trials: int = Field(
        default=8,
        ge=1,
        description="tpe, gp and nsga2 propose quasi-random (Sobol) trials until so many have scores at a milestone; "
        "also the number of nsga2's parents.",
    )
    objectives: list[ObjectiveSpec] = Field(
        default_factory=list, description="Objectives of nsga2; the first should be the sweep's own."
    )

    @model_validator(mode="after")
    def _objectives_need_nsga2(self) -> SearcherSpec:
        if self.kind == "nsga2" and len(self.objectives) < 2:
            raise ValueError("searcher nsga2 needs at least two objectives; name them, or use tpe or gp for one")
        if self.kind != "nsga2" and self.objectives:
            raise ValueError(f"searcher {self.kind} optimises the sweep's objective alone; use nsga2 for several")
        return self


class Budget(Closed):
    """How much may be spent."""

    trials: int | None = Field(
        default=None, ge=1, description="Number of trials; default: the whole grid, else 24 (repeats counted)."
    )
    samples: int | None = Field(default=None, ge=1, description="Samples per trial; excludes epochs.")
    epochs: float | None = Field(default=None, gt=0, description="Passes over the data per trial; excludes samples.")
    wall_minutes: float | None = Field(
        default=None, gt=0, description="No new trial or promotion starts after this many minutes of a run."
    )

    @model_validator(mode="after")
    def _one_measure(self) -> Budget:
        if self.samples is not None and self.epochs is not None:
            raise ValueError("give samples or epochs, not both")
        return self


class DivergenceSpec(Closed):
    """Stop trials that blow up; checked after every optimizer step."""

    enabled: bool = Field(default=True, description="Whether the rule runs.")
    loss_margin: float = Field(
        default=1.5,
        gt=0,
        description="Stop when the smoothed loss is this many nats above its start, and at least 1.25 times it.",
    )
    grad_norm_factor: float = Field(
        default=100.0, gt=1, description="Stop when the gradient norm stays this many times above its running median."
    )


class RungsSpec(Closed):
    """Successive halving on the objective's own held-out metric, in samples seen, within cohorts."""

    enabled: bool = Field(default=True, description="Whether the rule runs.")
    reduction_factor: float = Field(
        default=2.0, gt=1, description="One in this many trials passes each rung, where the forecast is off."
    )
    levels: list[float] = Field(
        default_factory=list,
        description="Milestones that are rungs, as shares of the budget; default: all but the last.",
    )
    quota_per_method: int = Field(
        default=1, ge=0, description="Trials every method keeps at a rung until its best learning rate is bracketed."
    )
    cohort: Literal["sweep", "family", "method"] = Field(
        default="sweep",
        description="Trials compared with each other: all, those of one method family, or of one method. Held-out "
        "metrics compare across methods, so sweep is the default.",
    )

    @field_validator("levels")
    @classmethod
    def _shares(cls, levels: list[float]) -> list[float]:
        if any(not 0 < level < 1 for level in levels):
            raise ValueError(f"rung levels are shares of the budget between 0 and 1 (exclusive), got {levels}")
        return levels


class ForecastSpec(Closed):
    """Compare trials by their expected final objective: those go on that may still end best."""

    enabled: bool = Field(
        default=True,
        description="Whether the forecast compares trials at the rungs; else the rungs' fixed reduction_factor does.",
    )
    miss: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Tolerated probability, at each milestone, that the best trial is not among those that go on.",
    )
    tolerance: float = Field(
        default=0.0,
        ge=0,
        description="Tolerated regret in units of the objective: a trial that ends this close to the best counts as the best.",
    )
    weights: str | None = Field(
        default=None,
        description="Weights fitted on your own sweeps (orchestrate fit-forecast); default: the shipped ones.",
    )


class EarlyDynamicsSpec(Closed):
    """The rule of arXiv 2412.13337: lower gradient norm and higher training loss early mark the better model."""

    enabled: bool = Field(
        default=False,
        description="Whether the rule runs. Off by default: for in-distribution objectives its loss half has the "
        "opposite sign (docs/stopping.md).",
    )
    share: float = Field(default=0.25, gt=0, le=1, description="Judge trials at the first milestone past this share.")
    drop: float = Field(default=0.25, gt=0, lt=1, description="Share of the cohort that the rule may stop.")
    min_cohort: int = Field(default=4, ge=2, description="Smallest cohort in which the rule judges.")


class StoppingSpec(Closed):
    """Which rules may stop a trial before its end, in the order they are asked."""

    divergence: DivergenceSpec = Field(default_factory=DivergenceSpec, description="Blow-ups.")
    rungs: RungsSpec = Field(
        default_factory=RungsSpec, description="Where and among whom trials are compared; successive halving."
    )
    forecast: ForecastSpec = Field(
        default_factory=ForecastSpec, description="Compares trials at the rungs by what they are expected to end at."
    )
    early_dynamics: EarlyDynamicsSpec = Field(default_factory=EarlyDynamicsSpec, description="The paper's rule.")


class Resources(Closed):
    """What one trial takes, and how many run at once."""

    cpu: float = Field(default=1.0, gt=0, description="CPU cores per trial; also its number of threads.")
    gpu: float = Field(default=0.0, ge=0, description="GPUs per trial (a fraction shares one GPU).")
    memory_gib: float | None = Field(default=None, gt=0, description="Memory per trial that Ray reserves.")
    concurrency: int | None = Field(default=None, ge=1, description="Trials at once; default: what the cluster holds.")


class TrackingSpec(Closed):
    """Where runs are recorded."""

    enabled: bool = Field(default=True, description="Whether MLflow records the sweep.")
    uri: str | None = Field(default=None, description="MLflow tracking URI; default: SQLite in the storage folder.")
    experiment: str | None = Field(default=None, description="MLflow experiment; default: the sweep's name.")


class SweepSpec(Closed):
    """One sweep: a base model, data, a search space, and how to search it."""

    name: str = Field(description="Name; also its folder in the storage.", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    description: str = Field(default="", description="Free text, shown in MLflow.")
    model: Annotated[ModelSettings, BeforeValidator(_as_path, json_schema_input_type=str | ModelSettings)] = Field(
        description="Base model (a path is enough)."
    )
    data: DataSettings = Field(description="Training data.")
    evaluation: list[EvaluationSet] = Field(
        default_factory=lambda: [EvaluationSet(name="eval")], description="Named evaluation sets."
    )
    objective: Annotated[ObjectiveSpec, BeforeValidator(_as_metric, json_schema_input_type=str | ObjectiveSpec)] = (
        Field(
            default_factory=ObjectiveSpec,
            description="What best means (a metric name is enough; then lower is better).",
        )
    )
    search_space: SearchSpace = Field(description="What is searched.")
    searcher: Annotated[SearcherSpec, BeforeValidator(_as_kind, json_schema_input_type=SearcherKind | SearcherSpec)] = (
        Field(default_factory=SearcherSpec, description="How configurations are proposed (a kind is enough).")
    )
    budget: Budget = Field(default_factory=Budget, description="How much may be spent.")
    milestones: list[float] = Field(
        default_factory=lambda: [0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0],
        description="Shares of the budget at which a trial is evaluated, saved and judged.",
    )
    stopping: StoppingSpec = Field(default_factory=StoppingSpec, description="Rules that stop trials early.")
    training: TrainingSettings = Field(default_factory=TrainingSettings, description="How every trial trains.")
    resources: Resources = Field(default_factory=Resources, description="What one trial takes.")
    cluster: str = Field(default="local", description="Cluster profile: local, existing, or a file.")
    tracking: TrackingSpec = Field(default_factory=TrackingSpec, description="Where runs are recorded.")
    storage: str = Field(default="runs", description="Folder for journals, checkpoints and the default MLflow store.")

    @field_validator("milestones")
    @classmethod
    def _rising_shares(cls, shares: list[float]) -> list[float]:
        if not shares or any(not 0 < share <= 1 for share in shares) or sorted(set(shares)) != shares:
            raise ValueError(f"milestones are rising shares of the budget in (0, 1], got {shares}")
        return shares if shares[-1] == 1 else [*shares, 1.0]

    @field_validator("evaluation")
    @classmethod
    def _unique_names(cls, sets: list[EvaluationSet]) -> list[EvaluationSet]:
        names = [entry.name for entry in sets]
        if not names:
            raise ValueError("name at least one evaluation set; the objective needs a metric")
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"evaluation sets need different names, {doubled[0]!r} appears twice")
        return sets

    @model_validator(mode="after")
    def _hangs_together(self) -> SweepSpec:
        self._check_metrics()
        self._check_data()
        self._check_rungs()
        return self

    def _check_metrics(self) -> None:
        known = self.metrics
        for field, spec in self._objectives():
            judged = [(f"{field}.metric", name) for name in spec.weights]
            judged += [(f"{field}.constraints.{i}.metric", bound.metric) for i, bound in enumerate(spec.constraints)]
            for place, metric in judged:
                if metric not in known:
                    mend = nearest(metric, known) or f"available: {', '.join(known)}"
                    raise SpecError("", place, metric, "no evaluation set gives this metric", mend)

    def _check_data(self) -> None:
        if not self.data.train and not self.data.phases:
            raise SpecError("", "data.train", None, "the training data is missing",
                            "give a file, folder, hub id or testbed:sft")  # fmt: skip
        if self.data.train and self.data.phases:
            raise SpecError("", "data.train", self.data.train, "the phases are the training data, so train must stay empty",
                            "remove data.train or data.phases")  # fmt: skip
        if self.data.held_out == 0 and any(entry.data == "held_out" for entry in self.evaluation):
            raise SpecError("", "data.held_out", self.data.held_out, "an evaluation set reads held_out, so it must not be 0",
                            "give a share, a count or a source")  # fmt: skip
        if "phased" in (self.search_space.data_strategy.grid() or ()) and len(self.data.phases) < 2:
            raise SpecError("", "data.phases", None, "data_strategy phased needs at least two phases")

    def _check_rungs(self) -> None:
        rungs = self.stopping.rungs
        for index, level in enumerate(rungs.levels):
            if level not in self.milestones:
                raise SpecError("", f"stopping.rungs.levels.{index}", level,
                                f"a rung must be one of the milestones {self.milestones}")  # fmt: skip
        late = {f"{entry.name}/" for entry in self.evaluation if entry.when == "end"}
        for metric in self.objective.weights:
            judged_late = any(metric.startswith(prefix) for prefix in late)
            if judged_late and rungs.enabled and len(self.milestones) > 1:
                raise SpecError("", "objective.metric", metric,
                                "rungs judge the objective at milestones, and this metric is evaluated only at the end",
                                "set its evaluation set to when: milestones, or stopping.rungs.enabled: false")  # fmt: skip

    def _objectives(self) -> list[tuple[str, ObjectiveSpec]]:
        """Return all objectives with the fields where they stand."""
        others = [(f"searcher.objectives.{i}", spec) for i, spec in enumerate(self.searcher.objectives)]
        return [("objective", self.objective), *others]

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics that the evaluation sets give."""
        by_kind = {"loss": ("loss",), "exact_match": ("exact_match",), "text_loss": ("loss", "forgetting")}
        return [f"{entry.name}/{suffix}" for entry in self.evaluation for suffix in by_kind[entry.kind]]

    @property
    def trial_setup(self) -> TrialSetup:
        """What a worker needs besides a trial's own configuration."""
        return TrialSetup(self.model, self.data, tuple(self.evaluation), self.training)

    def content(self) -> dict[str, Any]:
        """Return what defines the sweep: everything but where it runs, is stored and tracked."""
        values = self.model_dump(mode="json")
        for place in ("resources", "cluster", "tracking", "storage", "description"):
            values.pop(place)
        values["budget"].pop("wall_minutes")
        return values

    @property
    def digest(self) -> str:
        """Digest of `content`."""
        return digest(self.content())


def resolved(spec: SweepSpec) -> Mapping[str, Any]:
    """Return the sweep with every default filled in, ready to be written as YAML or JSON."""
    return spec.model_dump(mode="json")
