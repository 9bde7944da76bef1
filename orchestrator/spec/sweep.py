"""The sweep file as typed, closed models. Importing this module needs pydantic only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from orchestrator.errors import SpecError
from orchestrator.plugins.code import PluginCode
from orchestrator.plugins.loading import is_absent, is_plugin, loaded_code, note_absent
from orchestrator.settings.data import defining_data, find_problem
from orchestrator.settings.trial_setup import (
    DataSettings,
    EntrypointSettings,
    EvaluationSet,
    ModelSettings,
    TrainingSettings,
    TrialSetup,
)
from orchestrator.spec.evaluations.identity import defining_set
from orchestrator.spec.evaluations.kinds import KINDS, kind_of
from orchestrator.spec.evaluations.sets import check_set, may_give, metrics_of, no_such_metric
from orchestrator.spec.options.declared import checked_options
from orchestrator.spec.own_training import REPLACED, check_own_training, with_own_space
from orchestrator.spec.plugin_words import read_label
from orchestrator.spec.reading.closed import Closed
from orchestrator.spec.reading.names import NamedIn, OneOf
from orchestrator.spec.search_space.own_search_space import AnySearchSpace
from orchestrator.spec.searchers import SEARCHERS, learning_searchers, searcher_kind
from orchestrator.spec.stopping import StoppingSpec, WinnerSpec
from orchestrator.spec.trial.data_strategies import find_data_strategy
from orchestrator.spec.trial.identity import digest

SearcherName = Annotated[str, OneOf(SEARCHERS, "searcher")]


def _as_path(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


def _as_kind(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


def _as_function(value: object) -> object:
    return {"function": value} if isinstance(value, str) else value


def _as_metric(value: object) -> object:
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

    kind: SearcherName = Field(
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
    options: dict[str, object] = Field(
        default_factory=dict, description="Options of a searcher of your own (`kind: FILE.py:CLASS`)."
    )

    @model_validator(mode="after")
    def _known_options(self) -> SearcherSpec:
        if not is_absent("searcher", self.kind):
            checked_options(searcher_kind(self.kind).options, self.options, "options")
        return self

    @model_validator(mode="after")
    def _as_many_objectives_as_it_takes(self) -> SearcherSpec:
        several = searcher_kind(self.kind).several_objectives
        if several and len(self.objectives) < 2:
            others = learning_searchers(several_objectives=False)
            raise ValueError(f"searcher {self.kind} needs at least two objectives; name them, or use {others} for one")
        if not several and self.objectives:
            others = learning_searchers(several_objectives=True)
            raise ValueError(f"searcher {self.kind} optimises the sweep's objective alone; use {others} for several")
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


class Resources(Closed):
    """What one trial takes, and how many run at once."""

    cpu: float = Field(default=1.0, gt=0, description="CPU cores per trial; also its number of threads.")
    gpu: float = Field(default=0.0, ge=0, description="GPUs per trial (a fraction shares one GPU).")
    memory_gib: float | None = Field(default=None, gt=0, description="Memory per trial that Ray reserves.")
    concurrency: int | None = Field(default=None, ge=1, description="Trials at once; default: what the cluster holds.")
    detached_cpu: float = Field(
        default=0.0,
        ge=0,
        description="CPU cores that the process for detached evaluation sets reserves; 0: it runs beside.",
    )
    detached_gpu: float = Field(
        default=0.0,
        ge=0,
        description="GPUs that the process for detached evaluation sets reserves; 0: it computes on the CPU.",
    )
    detached_waiting: int = Field(
        default=16,
        ge=1,
        description="Checkpoints (trained weights) that are kept at most until detached sets with `when: milestones` have "
        "scored them; with more, the oldest goes unscored, which is told.",
    )


class TrackingSpec(Closed):
    """Where runs are recorded."""

    enabled: bool = Field(default=True, description="Whether MLflow records the sweep.")
    uri: str | None = Field(default=None, description="MLflow tracking URI; default: SQLite in the storage folder.")
    experiment: str | None = Field(default=None, description="MLflow experiment; default: the sweep's name.")
    tracker: str | None = Field(
        default=None, description="A tracker of your own in place of MLflow, `FILE.py:FUNCTION`; it is given the uri."
    )

    @field_validator("tracker")
    @classmethod
    def _is_code(cls, tracker: str | None) -> str | None:
        if tracker is not None and not is_plugin("tracker", tracker):
            raise ValueError(f"a tracker is FILE.py:FUNCTION, or one that an installed package offers, got {tracker!r}")
        return tracker


class SweepSpec(Closed):
    """One sweep: a base model and data, or training of your own, a search space, and how to search it."""

    name: str = Field(description="Name; also its folder in the storage.", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    description: str = Field(default="", description="Free text, shown in MLflow.")
    entrypoint: Annotated[
        EntrypointSettings | None,
        BeforeValidator(_as_function, json_schema_input_type=str | EntrypointSettings | None),
    ] = Field(
        default=None,
        description="Training of your own (`FILE.py:FUNCTION` is enough); excludes model, data, evaluation and training.",
    )
    model: Annotated[ModelSettings, BeforeValidator(_as_path, json_schema_input_type=str | ModelSettings)] = Field(
        default=ModelSettings(""), description="Base model (a path is enough); required without an entrypoint."
    )
    data: DataSettings = Field(
        default_factory=DataSettings, description="Training data; required without an entrypoint."
    )
    evaluation: list[Annotated[EvaluationSet, NamedIn(KINDS, "kind", "evaluation")]] = Field(
        default_factory=lambda: [EvaluationSet(name="eval")], description="Named evaluation sets."
    )
    objective: Annotated[ObjectiveSpec, BeforeValidator(_as_metric, json_schema_input_type=str | ObjectiveSpec)] = (
        Field(
            default_factory=ObjectiveSpec,
            description="What best means (a metric name is enough; then lower is better).",
        )
    )
    search_space: AnySearchSpace = Field(description="What is searched.")
    searcher: Annotated[SearcherSpec, BeforeValidator(_as_kind, json_schema_input_type=SearcherName | SearcherSpec)] = (
        Field(default_factory=SearcherSpec, description="How configurations are proposed (a kind is enough).")
    )
    budget: Budget = Field(default_factory=Budget, description="How much may be spent.")
    milestones: list[float] = Field(
        default_factory=lambda: [0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0],
        description="Shares of the budget at which a trial is evaluated, saved and judged.",
    )
    stopping: StoppingSpec = Field(default_factory=StoppingSpec, description="Rules that stop trials early.")
    winner: WinnerSpec = Field(
        default_factory=WinnerSpec, description="Repeats of the best recipes, to tell the winner from noise."
    )
    training: TrainingSettings = Field(default_factory=TrainingSettings, description="How every trial trains.")
    resources: Resources = Field(default_factory=Resources, description="What one trial takes.")
    cluster: str = Field(default="local", description="Cluster profile: local, existing, or a file.")
    tracking: TrackingSpec = Field(default_factory=TrackingSpec, description="Where runs are recorded.")
    storage: str = Field(default="runs", description="Folder for journals, checkpoints and the default MLflow store.")
    plugins: dict[str, str] = Field(
        default_factory=dict,
        description="Digests of code that the file names (`method mine.py:Mine`). Filled in when it is read; written "
        "down, they say which text of the code is meant.",
    )

    @model_validator(mode="before")
    @classmethod
    def _choose_search_space(cls, values: object) -> object:
        if isinstance(values, Mapping) and isinstance(values.get("plugins"), Mapping):
            for label in values["plugins"]:
                note_absent(*read_label(str(label)))
        return with_own_space(values)

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
        for place, entry in enumerate(sets):
            check_set(entry, f"evaluation.{place}")
        return sets

    @model_validator(mode="after")
    def _hangs_together(self) -> SweepSpec:
        if self.entrypoint is not None:
            check_own_training(self.entrypoint, self.search_space, self.budget.samples, self.model_fields_set)
        else:
            self._check_metrics()
            self._check_data()
            self._check_late_objective()
        self._check_rungs()
        return self

    def _check_metrics(self) -> None:
        for field, spec in self._objectives():
            judged = [(f"{field}.metric", name) for name in spec.weights]
            judged += [(f"{field}.constraints.{i}.metric", bound.metric) for i, bound in enumerate(spec.constraints)]
            for place, metric in judged:
                if not any(may_give(entry, metric) for entry in self.evaluation):
                    raise no_such_metric(metric, self.evaluation, place)

    def _check_data(self) -> None:
        for section in ("model", "data"):
            if section not in self.model_fields_set:
                raise SpecError(
                    "",
                    section,
                    None,
                    "this field is required",
                    "or train with code of your own: entrypoint: my_script.py:train",
                )
        if problem := find_problem(self.data):
            raise SpecError("", f"data.{problem.field}", problem.value, problem.rule, problem.mend)
        if self.data.held_out == 0 and any(
            entry.data == "held_out" and kind_of(entry).takes_data for entry in self.evaluation
        ):
            raise SpecError(
                "",
                "data.held_out",
                self.data.held_out,
                "an evaluation set reads held_out, so it must not be 0",
                "give a share, a count or a source",
            )
        for name in self.search_space.data_strategy.grid() or ():
            if find_data_strategy(name).needs_phases and len(self.data.phases) < 2:
                raise SpecError("", "data.phases", None, f"data_strategy {name} needs at least two phases")

    def _check_rungs(self) -> None:
        for index, level in enumerate(self.stopping.rungs.levels):
            if level not in self.milestones:
                raise SpecError(
                    "",
                    f"stopping.rungs.levels.{index}",
                    level,
                    f"a rung must be one of the milestones {self.milestones}",
                )

    def _check_late_objective(self) -> None:
        rungs = self.stopping.rungs
        detached = {f"{entry.name}/" for entry in self.evaluation if entry.detached}
        for metric in self.judged_metrics:
            if any(metric.startswith(prefix) for prefix in detached):
                raise SpecError(
                    "",
                    "objective",
                    metric,
                    "belongs to a detached evaluation set, whose scores come when the trials have been judged",
                    "set detached: false with when: end, or judge by another metric",
                )
        late = {f"{entry.name}/" for entry in self.evaluation if entry.when == "end"}
        for metric in self.objective.weights:
            judged_late = any(metric.startswith(prefix) for prefix in late)
            if judged_late and rungs.enabled and len(self.milestones) > 1:
                raise SpecError(
                    "",
                    "objective.metric",
                    metric,
                    "rungs judge the objective at milestones, and this metric is evaluated only at the end",
                    "set its evaluation set to when: milestones, or stopping.rungs.enabled: false",
                )

    def _objectives(self) -> list[tuple[str, ObjectiveSpec]]:
        """Return all objectives with the fields where they stand."""
        others = [(f"searcher.objectives.{i}", spec) for i, spec in enumerate(self.searcher.objectives)]
        return [("objective", self.objective), *others]

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics that the evaluation sets give; of an entrypoint's, those that the sweep judges by."""
        if self.entrypoint is not None:
            return list(self.judged_metrics)
        named = [metric for entry in self.evaluation for metric in metrics_of(entry)]
        # lm_eval's names are known once its tasks are read; those that the sweep judges by are taken at their word.
        return list(dict.fromkeys([*named, *self.judged_metrics]))

    @property
    def judged_metrics(self) -> tuple[str, ...]:
        """Metrics of all objectives and constraints."""
        named = [(*spec.weights, *(bound.metric for bound in spec.constraints)) for _, spec in self._objectives()]
        return tuple(dict.fromkeys(name for names in named for name in names))

    @property
    def trial_setup(self) -> TrialSetup:
        """What a worker needs besides a trial's own configuration."""
        return TrialSetup(self.model, self.data, tuple(self.evaluation), self.training, self.plugin_codes)

    @property
    def plugin_codes(self) -> tuple[PluginCode, ...]:
        """The plug-ins that the sweep names, as far as this process has loaded them."""
        found = (loaded_code(*read_label(label)) for label in self.plugins)
        return tuple(code for code in found if code is not None)

    def content(self) -> dict[str, Any]:
        """Return what defines the sweep: everything but where it runs, is stored and tracked, and `after_search`."""
        values = self.model_dump(mode="json")
        for place in ("resources", "cluster", "tracking", "storage", "description", "winner"):
            values.pop(place)
        values["budget"].pop("wall_minutes")
        values["stopping"].pop("audit")
        if not values["stopping"]["rules"]:
            del values["stopping"]["rules"]
        # A tracker, like everything under `tracking`, may change between two sessions.
        values["plugins"] = {
            label: text for label, text in values["plugins"].items() if read_label(label)[0] != "tracker"
        }
        if not values["plugins"]:
            del values["plugins"]
        if not values["searcher"]["options"]:
            del values["searcher"]["options"]
        values["data"] = defining_data(values["data"])
        values["evaluation"] = [defining_set(entry) for entry in values["evaluation"]]
        return _with_entrypoint(values)

    @property
    def after_search(self) -> dict[str, Any]:
        """What follows the search and leaves it as it is, so that it may change when a finished sweep is run again."""
        return {"stopping": {"audit": self.stopping.audit}, "winner": self.winner.model_dump(mode="json")}

    @property
    def digest(self) -> str:
        """Digest of `content`."""
        return digest(self.content())


def resolved(spec: SweepSpec) -> Mapping[str, Any]:
    """Return the sweep with every default filled in, ready to be written as YAML or JSON."""
    values = spec.model_dump(mode="json")
    if not values["plugins"]:
        del values["plugins"]
    for section in (values["searcher"], *values["evaluation"]):
        if not section["options"]:
            del section["options"]
    if not values["stopping"]["rules"]:
        del values["stopping"]["rules"]
    return values if spec.entrypoint is None else {k: v for k, v in values.items() if k not in REPLACED}


def _with_entrypoint(content: dict[str, Any]) -> dict[str, Any]:
    """Return content without what an entrypoint replaces, and without where and how patiently its code runs."""
    entrypoint = content.pop("entrypoint")
    if entrypoint is None:
        return content
    defining = {key: entrypoint[key] for key in ("function", "command", "inputs")}
    return {**{key: value for key, value in content.items() if key not in REPLACED}, "entrypoint": defining}
