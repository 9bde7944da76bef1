"""The model card (README.md) of an exported trial: what it is, how to load it, how it was made and how good it is.

Texts from sweep files and data sets may hold anything: the front matter is written by a YAML library, tables and
sentences are escaped, and code stands in fences longer than any in it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from orchestrator.records import Outcome
from orchestrator.reporting.sweep_report.sweep_files import recipe, sweep_yaml
from orchestrator.reporting.text import duration, number
from orchestrator.results import SweepHistory, TrialHistory
from orchestrator.spec.catalogue import METHODS
from orchestrator.spec.sweep import SweepSpec

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")


@dataclass(frozen=True)
class CardFacts:
    """What the files themselves are.

    Args:
        form: ``model``, ``adapter`` or ``merged``.
        base: Base model as an adapter names it: a hub id, or a folder.
        base_is_hub_id: Whether that is an id of the model hub.
        dtype: Type of the stored weights.
        parameters: Stored numbers.
        plain_lora: Whether servers such as vLLM take the adapter.
        rank: Largest rank of a plain lora, None for others.
        difference: Relative difference of logits after reading back, None unchecked.
        needs_task_ids: Whether the model must be told a task for each row (``task_ids``, zeros).
    """

    form: str
    base: str
    base_is_hub_id: bool
    dtype: str
    parameters: int
    plain_lora: bool
    rank: int | None
    difference: float | None
    needs_task_ids: bool


def model_card(history: SweepHistory, trial: TrialHistory, facts: CardFacts) -> str:
    """Return the card as Markdown with YAML front matter."""
    spec = _spec(history)
    parts = [
        f"---\n{_front(history, trial, facts, spec)}---\n",
        f"# {_plain(f'{history.result.name}: {trial.result.name}')}\n",
        f"{_what(history, trial, facts, spec)}\n",
        "## How to use it\n",
        _fence(usage(facts), "python"),
        _serving(facts),
        "## Scores\n",
        _scores(history, trial),
        _chosen(history, trial),
        "## Recipe\n",
        "The sweep file of this one trial; `orchestrate run recipe.yaml` trains it.\n",
        _fence(sweep_yaml(recipe(spec, trial.result.config)), "yaml"),
        "## Data and environment\n",
        _table(("what", "value"), _capsule(history, trial, spec)),
        "## Run it again\n",
        _fence(f"orchestrate rerun {history.result.name} {trial.result.trial_id} --storage STORAGE", "bash"),
        "This trains the recipe again and says whether data, code, packages and result are the same.\n",
    ]
    return "\n".join(part for part in parts if part)


def usage(facts: CardFacts) -> str:
    """Return Python code that loads the exported folder."""
    head = "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
    tokenizer = 'tokenizer = AutoTokenizer.from_pretrained("DIR")\n'
    if facts.form == "adapter":
        load = (
            f"from peft import PeftModel\n{head}\nbase = AutoModelForCausalLM.from_pretrained({facts.base!r})\n"
            'model = PeftModel.from_pretrained(base, "DIR")\n'
        )
    else:
        load = f'{head}\nmodel = AutoModelForCausalLM.from_pretrained("DIR")\n'
    tasks = ", task_ids=torch.zeros(len(prompt.input_ids), dtype=torch.long)" if facts.needs_task_ids else ""
    ask = (
        'messages = [{"role": "user", "content": "..."}]\n'
        'prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")\n'
        f"answer = model.generate(**prompt, max_new_tokens=64, do_sample=False{tasks})\n"
        "print(tokenizer.decode(answer[0, prompt.input_ids.shape[1] :], skip_special_tokens=True))\n"
    )
    return ("import torch\n" if tasks else "") + load + tokenizer + ask


def _spec(history: SweepHistory) -> SweepSpec:
    return SweepSpec.model_validate({key: value for key, value in history.content.items() if key != "record"})


# -- front matter --------------------------------------------------------------------------------------


def _front(history: SweepHistory, trial: TrialHistory, facts: CardFacts, spec: SweepSpec) -> str:
    """Return the metadata that the model hub reads."""
    result = trial.result
    values: dict[str, Any] = {
        "library_name": "peft" if facts.form == "adapter" else "transformers",
        "pipeline_tag": "text-generation",
        **(_base(facts) if facts.base_is_hub_id else {}),
        "tags": ["sft", "sft-orchestrator", result.config.method],
        "model-index": [
            {
                "name": f"{history.result.name}: {result.name}",
                "results": [_indexed(metric, value, spec) for metric, value in result.scores.items()],
            }
        ],
    }
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=False, width=100))


def _base(facts: CardFacts) -> dict[str, str]:
    """Name the base model; the hub takes no folders here."""
    return {"base_model": facts.base, "base_model_relation": "adapter" if facts.form == "adapter" else "finetune"}


def _indexed(metric: str, value: float, spec: SweepSpec) -> dict[str, Any]:
    name, _, kind = metric.partition("/")
    entry = next((each for each in spec.evaluation if each.name == name), None)
    source = spec.data.train if entry is None or entry.data == "held_out" else entry.data
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": name, "type": source or "phases"},
        "metrics": [{"type": kind, "value": value, "name": metric}],
    }


# -- sentences and tables ------------------------------------------------------------------------------


def _what(history: SweepHistory, trial: TrialHistory, facts: CardFacts, spec: SweepSpec) -> str:
    config = trial.result.config
    method = METHODS.get(config.method)
    about = f" ({_plain(method.summary)})" if method else ""
    forms = {
        "model": "a whole model", "merged": "a whole model, the adapter merged into its weights",
        "adapter": "a peft adapter, to be loaded beside its base model",
    }  # fmt: skip
    source = spec.data.train or ", ".join(phase.train for phase in spec.data.phases)
    return (
        f"{_code(facts.base)} fine-tuned on {_code(source)} with {_code(config.method)}{about}, learning rate "
        f"{config.learning_rate:g}, {config.effective_batch_size} samples per optimizer step, "
        f"{trial.result.samples_seen:,} of {config.samples:,} samples. These files are {forms[facts.form]}: "
        f"{facts.parameters:,} numbers in {facts.dtype}."
    )


def _serving(facts: CardFacts) -> str:
    if facts.form != "adapter":
        return f"vLLM serves it as it is:\n\n{_fence('vllm serve DIR', 'bash')}"
    if not facts.plain_lora:
        return "Servers that take plain lora adapters alone, such as vLLM, need it merged: export it with `--merge`, where its method merges.\n"
    rank = f" --max-lora-rank {facts.rank}" if facts.rank and facts.rank > 16 else ""
    return f"vLLM serves it beside its base:\n\n{_fence(f'vllm serve {shlex.quote(facts.base)} --enable-lora{rank} --lora-modules tuned=DIR', 'bash')}"


def _scores(history: SweepHistory, trial: TrialHistory) -> str:
    result, base = trial.result, history.result.base_scores
    rows = [
        (_code(metric), _with_error(value, result.standard_errors.get(metric)), number(base.get(metric)))
        for metric, value in result.scores.items()
    ]
    return (
        _table(("metric", "this model", "base model"), rows)
        + "\nAfter ±: one standard error over the rows of the set.\n"
    )


def _chosen(history: SweepHistory, trial: TrialHistory) -> str:
    sweep, result = history.result, trial.result
    count = sum(sweep.counts.values())
    winner = sweep.winner is not None and sweep.winner.trial_id == result.trial_id
    told = f"The winner of {count} trials" if winner else f"One of {count} trials"
    ended = (
        ""
        if result.outcome is Outcome.COMPLETED
        else f" It was not trained to its end: {result.outcome.value}. {result.reason}"
    )
    verdict = f" {sweep.verdict.sentence}" if winner and sweep.verdict is not None else ""
    return f"{told} by `{_no_ticks(sweep.objective)}` ({sweep.mode}), in {duration(sweep.wall_seconds)} of wall time.{_plain(ended + verdict)}\n"


def _capsule(history: SweepHistory, trial: TrialHistory, spec: SweepSpec) -> list[tuple[str, str]]:
    """Return data, digests, seeds and what it ran on."""
    found = history.environment
    versions = ", ".join(f"{name} {version}" for name, version in (found.get("versions") or {}).items())
    commit = (
        f"{found['git_commit']}{' with uncommitted changes' if found.get('git_dirty') else ''}"
        if found.get("git_commit")
        else ""
    )
    rows = [
        ("sweep", f"{history.result.name} (id {history.result.sweep_id})"),
        ("trial", f"{trial.result.trial_id} ({trial.result.name})"),
        ("base model", spec.model.path + (f" at revision {spec.model.revision}" if spec.model.revision else "")),
        ("training data", spec.data.train or ", ".join(phase.train for phase in spec.data.phases)),
        *((f"digest of {name}", digest) for name, digest in history.inputs.items()),
        ("seed", str(trial.result.config.seed)),
        ("began from", _origin(trial)),
        ("MLflow run", trial.result.run_id or ""),
        ("code", commit or str(found.get("code") or "")),
        ("python", str(found.get("python") or "")),
        ("packages", versions),
        ("trained", duration(trial.result.training_seconds)),
    ]  # fmt: skip
    return [(name, _plain(value)) for name, value in rows if value]


def _origin(trial: TrialHistory) -> str:
    origin = trial.result.origin
    return "" if origin is None else f"the {origin.takes} of trial {origin.trial_id} ({origin.name})"


def _with_error(value: float, error: float | None) -> str:
    return number(value) if error is None else f"{number(value)} ± {number(error, 2)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _fence(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def _plain(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """Return a text as inline code, safe in a table."""
    return f"`{_no_ticks(text)}`"


def _no_ticks(text: str) -> str:
    return " ".join(text.replace("`", "'").replace("|", "/").split())
