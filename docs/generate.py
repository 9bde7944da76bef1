"""Write the reference pages from the code: ``python -m docs.generate`` (run it in the repository's root).

The sweep file's page comes from its pydantic models, the command line's from the typer application, and
the methods' from the catalogue. A test compares the pages with what this module would write.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer.main
from pydantic import BaseModel

from orchestrator.cli import app
from orchestrator.integrations import Trial, sweep_arguments
from orchestrator.integrations.hyperparameters import Hyperparameters
from orchestrator.settings.stopping import DivergenceSpec, EarlyDynamicsSpec, ForecastSpec, RungsSpec
from orchestrator.settings.trial_setup import (
    DataSettings,
    EntrypointSettings,
    EvaluationSet,
    ExpectedData,
    JudgeSettings,
    MixturePart,
    ModelSettings,
    Phase,
    TrainingSettings,
)
from orchestrator.spec import stopping, sweep
from orchestrator.spec.clusters.profile import ClusterProfile
from orchestrator.spec.methods.catalogue import METHODS, method_entry, method_summary_table
from orchestrator.spec.methods.entries import EXCLUDED
from orchestrator.spec.methods.entry import FAMILIES
from orchestrator.spec.options.option import OptionInfo
from orchestrator.spec.options.values import TARGET_WORDS
from orchestrator.spec.schema import sweep_schema
from orchestrator.spec.search_space.own_search_space import OwnSearchSpace
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.trial.command_words import FIXED_NAMES
from orchestrator.spec.trial.schedules import SCHEDULES

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Written by `python -m docs.generate`. Change the code, not this page. -->\n"
PROGRAM = "orchestrate"

# Section of the page -> the model behind it, in the order of the page.
_SECTIONS: dict[str, type[Any]] = {
    "The whole file": sweep.SweepSpec,
    "entrypoint": EntrypointSettings,
    "model": ModelSettings,
    "data": DataSettings,
    "data.phases": Phase,
    "data.mixture": MixturePart,
    "data.expected": ExpectedData,
    "evaluation": EvaluationSet,
    "evaluation.judge": JudgeSettings,
    "objective": sweep.ObjectiveSpec,
    "objective.constraints": sweep.Constraint,
    "search_space": SearchSpace,
    "search_space with an entrypoint": OwnSearchSpace,
    "searcher": sweep.SearcherSpec,
    "budget": sweep.Budget,
    "stopping": stopping.StoppingSpec,
    "stopping.divergence": DivergenceSpec,
    "stopping.rungs": RungsSpec,
    "stopping.forecast": ForecastSpec,
    "stopping.early_dynamics": EarlyDynamicsSpec,
    "winner": stopping.WinnerSpec,
    "training": TrainingSettings,
    "resources": sweep.Resources,
    "tracking": sweep.TrackingSpec,
}


def pages() -> dict[str, str]:
    """Return every generated page by file name."""
    makers: dict[str, Callable[[], str]] = {
        "cli.md": cli_page,
        "methods.md": methods_page,
        "sweep-file.md": sweep_file_page,
        "trial.md": trial_page,
    }
    return {name: f"{NOTE}\n{make().rstrip()}\n" for name, make in makers.items()}


def main() -> None:
    """Write the pages that have changed and say which."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        place = FOLDER / name
        if not place.exists() or place.read_text(encoding="utf-8") != text:
            place.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {place}\n")


# -- the sweep file ------------------------------------------------------------------------------------


def sweep_file_page() -> str:
    """Return the page on the sweep file."""
    models = {section: _table(model) for section, model in _SECTIONS.items()}
    parts = [_SWEEP_INTRO, _domains()]
    for section, table in models.items():
        title = section if section == "The whole file" else f"`{section}`"
        parts.append(f"## {title}\n\n{_about(_SECTIONS[section])}\n\n{table}")
    parts.append(_schedules())
    parts.append(f"## Cluster files\n\n{_about(ClusterProfile)}\n\n{_table(ClusterProfile)}")
    return "\n\n".join(parts)


_SWEEP_INTRO = f"""# The sweep file

One YAML file describes one sweep. It is read into closed models: an unknown key is an error that names the
nearest known one. Numbers such as `1e-5` are read as numbers. `{PROGRAM} schema` prints the same as a JSON Schema.

Required are `name`, `model`, `data`, and in `search_space` the fields `method` and `effective_batch_size`. With an
`entrypoint`, which brings training of your own ([how to](../howto/own-training.md)), these are `name`, `entrypoint`,
`budget.samples`, and in `search_space` the fields `effective_batch_size` and `learning_rate`.
[every_feature.yaml](../../search_spaces/every_feature.yaml) shows every field at work.

Short forms: `entrypoint: FILE.py:FUNCTION` for `entrypoint: {{function: FILE.py:FUNCTION}}`; `model: PATH` for `model: {{path: PATH}}`; `objective: METRIC` for `objective: {{metric: METRIC}}`;
`searcher: KIND` for `searcher: {{kind: KIND}}`; `method: NAME` and `method: [NAME, ...]` for methods with their
defaults. On the command line, `--set dotted.key=value` sets one field; the value is read as YAML."""


def _domains() -> str:
    return """## Domains

Every field of `search_space` (but `repeats` and `any_learning_rate`) and every hyperparameter of a method is a
domain: the set of its values.

| written | means | in a grid |
|---|---|---|
| `3` or `{fixed: 3}` | this value | the value |
| `[8, 16]` or `{choice: [8, 16]}` | one of these, equally likely | each of them |
| `{uniform: [0.0, 0.2]}` | any number in the range | needs `points` or `quantum` |
| `{log_uniform: [1e-5, 1e-3]}` | any number, evenly in the logarithm | needs `points` or `quantum` |
| `{integer: [1, 8]}` | any whole number, both ends included | each of them |

`uniform` and `log_uniform` take `points: n` (how many values a grid takes, ends included) and `quantum: q`
(multiples of q only). `integer` takes `step: n` and `log: true`. Values drawn from a range are rounded to four
significant digits. A fixed value that is itself a mapping is written `{fixed: {...}}`; `warmup` and `schedule`
take their mappings as they are."""


def _schedules() -> str:
    lines = ["## Schedules", "", "After the warm-up. Options are written `{name: wsd, decay_share: 0.1}`.", ""]
    lines += ["| schedule | option | default | range | meaning |", "|---|---|---|---|---|"]
    for name, schedule in SCHEDULES.items():
        if not schedule.options:
            lines.append(f"| `{name}` | | | | {schedule.summary} |")
        for key, option in schedule.options.items():
            bounds = f"{option.low:g} to {option.high:g}"
            lines.append(f"| `{name}` | `{key}` | {option.default:g} | {bounds} | {option.summary} |")
    return "\n".join(lines)


def _about(model: type[Any]) -> str:
    return _cell(inspect.cleandoc(model.__doc__ or ""))


def _table(model: type[Any]) -> str:
    properties = _properties(model)
    lines = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, default in _fields(model):
        entry = properties[name]
        # A description that repeats the model's own is left out of the schema.
        about = _cell(entry.get("description") or _description_of(model, name))
        lines.append(f"| `{name}` | {_type(entry)} | {default} | {about} |")
    return "\n".join(lines)


def _description_of(model: type[Any], name: str) -> str:
    return str(model.model_fields[name].description or "") if issubclass(model, BaseModel) else ""


def _properties(model: type[Any]) -> Mapping[str, Any]:
    schema = ClusterProfile.model_json_schema() if model is ClusterProfile else sweep_schema()
    found: Mapping[str, Any] = schema.get("$defs", {}).get(model.__name__, schema)["properties"]
    return found


def _fields(model: type[Any]) -> Iterator[tuple[str, str]]:
    """Yield each field with its default as text."""
    if issubclass(model, BaseModel):
        own = model.__annotations__ if model is OwnSearchSpace else model.model_fields
        for name in own:
            info = model.model_fields[name]
            yield name, "required" if info.is_required() else _default(info.get_default(call_default_factory=True))
        return
    for field in dataclasses.fields(model):
        if field.default is not dataclasses.MISSING:
            yield field.name, _default(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            yield field.name, _default(field.default_factory())
        else:
            yield field.name, "required"


def _default(value: Any) -> str:
    if isinstance(value, BaseModel) or (dataclasses.is_dataclass(value) and not hasattr(value, "to_yaml")):
        return "see below"
    if isinstance(value, list) and value and dataclasses.is_dataclass(value[0]):
        return "one set named `eval`"
    if hasattr(value, "to_yaml"):
        value = value.to_yaml()
    if value in ("", None):
        return "none"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _type(entry: Mapping[str, Any]) -> str:
    if "$ref" in entry:
        return "mapping"
    if "enum" in entry:
        return ", ".join(f"`{word}`" for word in entry["enum"])
    if "anyOf" in entry:
        if len(entry["anyOf"]) > 4:
            return "domain"
        kinds = [_type(kind) for kind in entry["anyOf"] if kind.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    return _plain_type(entry)


def _plain_type(entry: Mapping[str, Any]) -> str:
    kind = entry.get("type", "any")
    if kind == "array":
        return f"list of {_type(entry.get('items', {}))}"
    if kind == "object":
        return "mapping"
    names = {"string": "text", "boolean": "true or false", "integer": "whole number", "number": "number"}
    return names.get(str(kind), str(kind)) + _bounds(entry)


def _bounds(entry: Mapping[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {entry[key]:g}" for key, sign in signs.items() if key in entry]
    return f" ({', '.join(bounds)})" if bounds else ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


# -- the trial object ----------------------------------------------------------------------------------


def trial_page() -> str:
    """Return the page on what training code of the user's own imports."""
    from orchestrator.integrations import SweepCallback

    parts = [
        _TRIAL_INTRO,
        f"## `Trial`\n\n{_prose(Trial).partition('Args:')[0].rstrip()}",
        "### What is to be trained",
        _properties_of(Hyperparameters),
    ]
    parts += ["### Where it stands", _properties_of(Trial)]
    parts += [_callable(f"trial.{name}", getattr(Trial, name), "###") for name in _methods_of(Hyperparameters, Trial)]
    parts.append(
        f"## `SweepCallback`\n\n```\nSweepCallback({_signature(SweepCallback)})\n```\n\n{_prose(SweepCallback)}"
    )
    parts.append(_callable("sweep_arguments", sweep_arguments, "##"))
    names = ", ".join(f"`{{{name}}}`" for name in FIXED_NAMES)
    parts.append(f"## Names in a command\n\nBesides the free hyperparameters, each by its own name: {names}.")
    return "\n\n".join(parts)


_FOR_CALLBACKS = frozenset({"close", "listen_only", "sealed_as"})

_TRIAL_INTRO = """# The trial object

What training code of your own uses of a sweep ([how to](../howto/own-training.md)). All of it comes from
`orchestrator.integrations`, and none of it does anything outside of a sweep."""


def _properties_of(model: type[Any]) -> str:
    lines = ["| attribute | meaning |", "|---|---|"]
    for name, value in vars(model).items():
        if isinstance(value, property) and not name.startswith("_"):
            lines.append(f"| `trial.{name}` | {_cell(_codes(inspect.cleandoc(value.__doc__ or '')))} |")
    return "\n".join(lines)


def _methods_of(*models: type[Any]) -> list[str]:
    own = [(name, value) for model in models for name, value in vars(model).items() if not name.startswith("_")]
    return [name for name, value in own if inspect.isfunction(value) and name not in _FOR_CALLBACKS]


def _callable(name: str, value: Any, level: str) -> str:
    return f"{level} `{name}`\n\n```\n{name}({_signature(value)})\n```\n\n{_prose(value)}"


def _signature(value: Any) -> str:
    parameters = [p for p in inspect.signature(value).parameters.values() if p.name != "self"]
    shown = [str(p.replace(annotation=inspect.Parameter.empty)) for p in parameters]
    stars = next((i for i, p in enumerate(parameters) if p.kind is inspect.Parameter.KEYWORD_ONLY), None)
    return ", ".join(shown if stars is None else [*shown[:stars], "*", *shown[stars:]])


_LINE = "a line of a script; search_spaces/examples/trl_sft.py is such a script"


def _prose(value: Any) -> str:
    """Return a docstring in Google style as Markdown: its sections as lists."""
    text = _codes(inspect.cleandoc(value.__doc__ or ""))
    body, *sections = re.split(r"^(Args|Raises|Returns):\n", text, flags=re.MULTILINE)
    parts = [
        re.sub(
            r"^>>> (.*?)(  # doctest.*)?$",
            rf"<!-- not run: {_LINE} -->\n```python\n\1\n```",
            body.rstrip(),
            flags=re.MULTILINE,
        )
    ]
    for title, content in zip(sections[::2], sections[1::2], strict=True):
        entries = re.sub(r"\n {8,}", " ", content.rstrip()).splitlines()
        lines = [re.sub(r"^ {4}(\w+): ", r"- `\1`: ", entry) for entry in entries if entry.strip()]
        parts.append(f"{title}:\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _codes(text: str) -> str:
    return text.replace("``", "`")


# -- the command line ----------------------------------------------------------------------------------


def cli_page() -> str:
    """Return the page on the command line."""
    group = typer.main.get_command(app)
    parts = [f"# The command line\n\n{group.help}\n\n{_CLI_NOTES}"]
    parts += [_command(name, command) for name, command in group.commands.items()]  # type: ignore[attr-defined]
    return "\n\n".join(parts)


_CLI_NOTES = f"""Every command answers `--help`. Human output goes to standard output, errors to standard error.
With `--json` one JSON object is printed on standard output; `run --json` prints everything else on standard error.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | something failed while it ran |
| 2 | the input is wrong; nothing was started and nothing was written |
| 130 | interrupted; the same command goes on |

`python -m orchestrator` is the same program as `{PROGRAM}`."""


# Every other example is run by tests/docs/test_docs_run.py.
_NOT_RUN = {
    "doctor": "tests/cli/test_cli_machine.py runs it",
    "extend": "tests/integration/test_control_and_extend.py trains the best on",
    "ui": "it serves until Ctrl-C; tests/tracking/test_ui_server.py starts it",
    "evaluate": "the tasks' data comes over the network; tests/cli/test_cli_evaluate.py scores without it",
    "reproduce": "several sweeps; tests/api/test_reproduce_command.py runs a small one",
    "fit-forecast": "minutes of fitting; tests/simulation/test_fitting.py fits a small one",
    "score-forecast": "minutes of fitting; tests/simulation/test_calibration.py scores a small one",
}


def _command(name: str, command: Any) -> str:
    arguments = [parameter for parameter in command.params if not parameter.opts[0].startswith("-")]
    options = [parameter for parameter in command.params if parameter.opts[0].startswith("-")]
    usage = " ".join([PROGRAM, name, *(["[OPTIONS]"] if options else []), *(str(a.metavar) for a in arguments)])
    lines = [f"## `{PROGRAM} {name}`", "", command.help, "", "```text", usage, "```"]
    if command.params:
        lines += ["", "| parameter | meaning |", "|---|---|"]
        lines += [f"| `{_spelled(parameter)}` | {_cell(parameter.help or '')} |" for parameter in command.params]
    if command.epilog:
        reason = f"<!-- not run: {_NOT_RUN[name]} -->\n" if name in _NOT_RUN else ""
        lines += ["", f"{reason}```bash", command.epilog.removeprefix("Example: "), "```"]
    return "\n".join(lines)


def _spelled(parameter: Any) -> str:
    if not parameter.opts[0].startswith("-"):
        return str(parameter.metavar)
    value = "" if parameter.is_flag else f" {parameter.metavar}"
    return f"{parameter.opts[0]}{value}"


# -- the methods ---------------------------------------------------------------------------------------


def methods_page() -> str:
    """Return the page on the methods."""
    parts = [_METHODS_INTRO.format(count=len(METHODS)), "## All methods", _summary()]
    parts.append("## Families\n\n" + "\n".join(f"- `{name}`: {about}" for name, about in FAMILIES.items()))
    parts.append("## Options and defaults\n\n" + _options_note())
    parts += [_method(name) for name in METHODS]
    parts.append("## Not offered\n\n" + "\n".join(f"- `{name}`: {why}" for name, why in EXCLUDED.items()))
    return "\n\n".join(parts)


_METHODS_INTRO = """# Methods

A method is how weights are trained. There are {count}. Each has options of its own and a default learning-rate range,
because a sweep with one learning rate for all methods compares learning rates, not methods.

The default range is log-uniform, a factor of ten either side of a centre. The centre comes from peft's MetaMathQA
benchmark (Llama-3.2-3B), from the method's paper, or was raised where the benchmark's rate left the method almost
untrained. It suits models of 0.5 to 8 billion parameters. Models of a few million parameters want 10 to 100 times more:
give a range of your own.

*Starts at the base*: with its default options the untrained method computes what the base model computes.
*Merges*: the result folds into plain weights of the base architecture."""


def _summary() -> str:
    rows = method_summary_table()
    lines = [f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
    for row in rows:
        cells = [f"[`{value}`](#{value})" if key == "method" else _cell(value) for key, value in row.items()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _options_note() -> str:
    words = ", ".join(f"`{word}`" for word in TARGET_WORDS)
    return (
        "Options of peft methods are the fields of their peft config; peft's documentation says what they do.\n"
        f"`target_modules` takes module names, or one of {words}, which are resolved for each architecture.\n"
        "A default of none often means that the value is chosen from the model."
    )


def _method(name: str) -> str:
    info = METHODS[name]
    summary = f"{info.summary[0].upper()}{info.summary[1:]}."
    origin = f"Config: peft's `{info.peft_config}`." if info.peft_config else "Part of this package."
    low, high = info.learning_rate
    lines = [f"### {name}", "", f"{summary} {origin}"]
    lines += [f"Learning rates {low:.2g} to {high:.2g} ({info.learning_rate_evidence})."]
    if info.fixed_options:
        lines += ["", f"Fixed: {_values(info.fixed_options)}."]
    if info.default_options:
        lines += ["", f"Set unless you say otherwise: {_values(info.default_options)}."]
    own = method_entry(name).own_options
    if own:
        lines += ["", "| option | type | default |", "|---|---|---|"]
        lines += [f"| `{key}` | {_option_type(option)} | {_default(option.default)} |" for key, option in own.items()]
    fields = sorted(info.options.keys() - own.keys())
    if fields:
        lines += ["", "Options of the config: " + ", ".join(f"`{option}`" for option in fields) + "."]
    return "\n".join(lines if info.options else [*lines, "", "No options."])


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}: {json.dumps(value)}`" for key, value in values.items())


def _option_type(option: OptionInfo) -> str:
    kinds = [kind for kind in option.kinds if kind not in ("choice", "null")]
    words = [*kinds, *(f"`{choice}`" for choice in option.choices)]
    limits = [
        f">= {option.low:g}" if option.low is not None else "",
        f"<= {option.high:g}" if option.high is not None else "",
    ]
    shown = ", ".join(limit for limit in limits if limit)
    return " or ".join(words) + (f" ({shown})" if shown else "")


if __name__ == "__main__":
    main()
