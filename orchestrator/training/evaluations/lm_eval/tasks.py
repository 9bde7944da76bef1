"""Which tasks of lm-eval a set names, and where they are.

lm-eval reads all of its 14,000 task files before it can load one, which takes half a minute. Here it does so once for a
version; a small index in the cache then says which folders a task needs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from orchestrator.errors import DataError, nearest
from orchestrator.settings.trial_setup import EvaluationSet

if TYPE_CHECKING:
    from lm_eval.api.group import Group
    from lm_eval.api.task import Task
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._index import Entry

DataFiles = str | Mapping[str, "DataFiles"] | Sequence["DataFiles"]
"""Data files as a task's YAML file names them: one, several, or those of each split."""


class IndexEntry(TypedDict):
    """Where a task, group or tag is: ``folder`` (relative to lm-eval's own) and ``parts`` (names that belong to it)."""

    folder: str
    parts: list[str]


Index = dict[str, IndexEntry]


class TasksByName(TypedDict):
    """What lm-eval's ``TaskManager.load`` gives; ``group_map`` names the members of each group."""

    tasks: dict[str, Task]
    groups: dict[str, Group]
    group_map: dict[str, list[str]]


_DECIDING = (
    "doc_to_text",
    "doc_to_target",
    "doc_to_choice",
    "process_results",
    "description",
    "target_delimiter",
    "fewshot_delimiter",
    "gen_prefix",
    "output_type",
    "generation_kwargs",
    "metric_list",
    "filter_list",
)
"""Fields of a task's configuration that decide its scores beside its documents."""


@dataclass(frozen=True)
class LoadedTasks:
    """Tasks of a set, ready to be run.

    Attributes:
        loaded: What lm-eval's ``TaskManager.load`` gave.
        metrics: Names of the metrics that they give, without the set's name.
        documents: How many documents are scored.
        digest: Digest of documents, configurations and lm-eval's version.
    """

    loaded: TasksByName
    metrics: tuple[str, ...]
    documents: int
    digest: str


def load_tasks(settings: EvaluationSet, cache_dir: Path) -> LoadedTasks:
    """Load the tasks of a set with their documents.

    Args:
        settings: The set.
        cache_dir: Where the index of lm-eval's own tasks is kept.

    Raises:
        DataError: If a task is unknown, runs code unasked, samples, or its data cannot be read.
    """
    where = f"evaluation.{settings.name}"
    for folder in settings.task_folders:
        if not Path(folder).is_dir():
            raise DataError(where, "task_folders", folder, "there is no such folder")
    own = [Path(folder).resolve() for folder in settings.task_folders]
    own_names = _names_in(own)
    missing = [name for name in settings.tasks if name not in own_names]
    index = _index(cache_dir) if missing else {}
    for name in missing:
        if name not in index:
            known = [*own_names, *index]
            raise DataError(
                where,
                "tasks",
                name,
                f"lm-eval {version('lm-eval')} has no such task",
                nearest(name, known) or "name the folder of your own tasks with task_folders",
            )
    manager = _manager([*_folders(missing, index), *map(str, own)], own)
    try:
        loaded = manager.load(list(settings.tasks))
    except Exception as error:
        raise _cannot_load(where, settings.tasks, error) from error
    tasks = loaded["tasks"]
    _check_tasks(where, settings, tasks)
    _set_shots(tasks, settings.num_fewshot)
    return LoadedTasks(
        loaded, _metric_names(settings.tasks, loaded), _documents(tasks, settings.limit), _digest(tasks, settings)
    )


def metric_name(task: str, metric: str, rule: str) -> str:
    """Return how a metric of a task is called: ``TASK/METRIC``, with the answer filter's name where it has one."""
    return f"{task}/{metric}" if rule == "none" else f"{task}/{metric}.{rule}"


def reported(asked: Iterable[str], loaded: TasksByName) -> list[str]:
    """Return the names whose metrics are told: the asked ones; of a group or tag without a mean of its own, its tasks."""
    names: list[str] = []
    for name in asked:
        group = loaded["groups"].get(name)
        if name in loaded["tasks"] or (group is not None and group.has_aggregation):
            names.append(name)
        elif group is not None:
            children = loaded["group_map"].get(name, [])
            names += reported(children, loaded) if children else []
        else:
            tagged = [task for task, each in loaded["tasks"].items() if name in _tags(each)]
            names += tagged or list(loaded["tasks"])
    return list(dict.fromkeys(names))


def _tags(task: Task) -> list[str]:
    tag = getattr(task.config, "tag", None)
    return [tag] if isinstance(tag, str) else list(tag or ())


def _manager(folders: Sequence[str], own: Sequence[Path]) -> TaskManager:
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._factory import TaskFactory

    class LocalFactory(TaskFactory):  # type: ignore[misc]
        """Reads data files of own tasks from beside their YAML file."""

        def _load_full_config(self, entry: Entry, overrides: dict[str, object] | None = None) -> dict[str, Any]:
            config: dict[str, Any] = super()._load_full_config(entry, overrides)
            place = entry.yaml_path
            files = (config.get("dataset_kwargs") or {}).get("data_files")
            if files and place is not None and any(place.resolve().is_relative_to(folder) for folder in own):
                config["dataset_kwargs"] = {**config["dataset_kwargs"], "data_files": _beside(files, place.parent)}
            return config

    manager = TaskManager(include_path=list(folders), include_defaults=False)
    manager._factory = LocalFactory()
    return manager


def _beside(files: DataFiles, folder: Path) -> DataFiles:
    if isinstance(files, str):
        return str(folder / files) if (folder / files).exists() else files
    if isinstance(files, Mapping):
        return {split: _beside(part, folder) for split, part in files.items()}
    return [_beside(part, folder) for part in files]


def _names_in(folders: Sequence[Path]) -> list[str]:
    if not folders:
        return []
    from lm_eval.tasks import TaskManager

    return list(TaskManager(include_path=list(map(str, folders)), include_defaults=False).all_tasks)


def _index(cache_dir: Path) -> Index:
    """Return the index of lm-eval's own tasks, made at the first call for a version."""
    place = cache_dir / f"lm_eval_tasks_{version('lm-eval')}.json"
    if place.exists():
        found: Index = json.loads(place.read_text(encoding="utf-8"))
        return found
    import lm_eval.tasks

    root = Path(lm_eval.tasks.__file__).parent
    index: Index = {}
    for name, entry in lm_eval.tasks.TaskManager().task_index.items():
        folder = str(entry.yaml_path.parent.relative_to(root)) if entry.yaml_path is not None else ""
        members = (entry.cfg or {}).get("task")
        index[name] = {"folder": folder, "parts": [*sorted(entry.tags), *_members(members)]}
    cache_dir.mkdir(parents=True, exist_ok=True)
    draft = place.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(index), encoding="utf-8")
    draft.replace(place)
    return index


def _members(members: object) -> list[str]:
    """Return the names that a group's list refers to, in groups that it defines itself too."""
    if not isinstance(members, list):
        return []
    names: list[str] = []
    for member in members:
        if isinstance(member, str):
            names.append(member)
        elif isinstance(member, Mapping):
            inner = member.get("task")
            names += _members(inner) if isinstance(inner, list) else [str(inner or member.get("group"))]
    return names


def _folders(names: Iterable[str], index: Index) -> list[str]:
    """Return the folders that hold tasks and all that belongs to them."""
    import lm_eval.tasks

    root = Path(lm_eval.tasks.__file__).parent
    found: dict[str, None] = {}
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in index:
            continue
        seen.add(name)
        if index[name]["folder"]:
            found[str(root / index[name]["folder"])] = None
        waiting += index[name]["parts"]
    inner = [
        folder
        for folder in found
        if not any(Path(folder) != Path(other) and Path(folder).is_relative_to(other) for other in found)
    ]
    return sorted(inner)


def _check_tasks(where: str, settings: EvaluationSet, tasks: Mapping[str, Task]) -> None:
    for name, task in tasks.items():
        if getattr(task, "UNSAFE_CODE", False) and not settings.unsafe_code:
            raise DataError(
                where,
                "tasks",
                name,
                "runs code that the model writes",
                "set unsafe_code: true if this machine may do that",
            )
        if getattr(task, "MULTIMODAL", False):
            raise DataError(where, "tasks", name, "needs a model that sees or hears")
        asked = getattr(task.config, "generation_kwargs", None) or {}
        if asked.get("do_sample") and float(asked.get("temperature") or 0) > 0:
            raise DataError(
                where,
                "tasks",
                name,
                "draws answers at random, and scores here are greedy",
                "copy its YAML file, set do_sample: false, and name its folder in task_folders",
            )


def _set_shots(tasks: Mapping[str, Task], shots: int | None) -> None:
    """Set the number of examples as lm-eval's own command does; a task that says 0 keeps it."""
    for task in tasks.values():
        given = task.get_config("num_fewshot")
        if given is None or (shots is not None and given != 0):
            task.set_config(key="num_fewshot", value=shots or 0)
        task.set_fewshot_seed(seed=1234)


def _metric_names(asked: Sequence[str], loaded: TasksByName) -> tuple[str, ...]:
    names: list[str] = []
    for name in reported(asked, loaded):
        task = loaded["tasks"].get(name)
        if task is not None:
            rules = [each.name for each in getattr(task, "_filters", [])] or ["none"]
            names += [metric_name(name, metric, rule) for metric in task.aggregation() for rule in rules]
            continue
        for each in loaded["groups"][name].aggregate_metric_list:
            rules = [each.filter_list] if isinstance(each.filter_list, str) else list(each.filter_list or ["none"])
            names += [metric_name(name, each.metric, rule) for rule in rules]
    return tuple(names)


def _documents(tasks: Mapping[str, Task], limit: int | None) -> int:
    counts = [len(task.eval_docs) for task in tasks.values()]
    return sum(count if limit is None else min(count, limit) for count in counts)


def _digest(tasks: Mapping[str, Task], settings: EvaluationSet) -> str:
    total = blake2b(digest_size=16)
    total.update(version("lm-eval").encode())
    for name, task in sorted(tasks.items()):
        documents = task.eval_docs
        count = len(documents) if settings.limit is None else min(settings.limit, len(documents))
        total.update(f"{name}\0{task.VERSION}\0{count}\0{task.config.num_fewshot}".encode())
        told = task.config.to_dict()
        total.update(json.dumps({key: told.get(key) for key in _DECIDING}, sort_keys=True, default=_plain).encode())
        for place in range(count):
            total.update(json.dumps(documents[place], sort_keys=True, default=str).encode())
        for example in (task.fewshot_docs() or ()) if task.config.num_fewshot else ():
            total.update(json.dumps(example, sort_keys=True, default=str).encode())
    return total.hexdigest()


def _plain(value: object) -> str:
    """Return what JSON does not know as text: a function by its name, as its address is another in each process."""
    return str(getattr(value, "__qualname__", value))


def _cannot_load(where: str, tasks: Sequence[str], error: Exception) -> DataError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return DataError(
        where,
        "tasks",
        ", ".join(tasks),
        f"cannot be loaded: {type(error).__name__}: {first[:300]}",
        "fetch the data set first, or give a task of your own that reads local files (task_folders)",
    )
