"""The model card (README.md) of an exported trial: what it is, how to load it, how it was made and how good it is.

Texts from sweep files and data sets may hold anything: the front matter is written by a YAML library, tables and
sentences are escaped, and code stands in fences longer than any in it.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import yaml

from orchestrator.reporting.cards.parts import (
    again_part,
    capsule_table,
    chosen_text,
    code,
    fenced,
    plain_text,
    scores_table,
)
from orchestrator.reporting.sweep_report.facts.sweep_files import recipe, sweep_yaml
from orchestrator.reporting.text.origins import beyond_recipe
from orchestrator.results.records import SweepHistory, TrialHistory
from orchestrator.spec.methods.catalogue import METHODS
from orchestrator.spec.sweep import SweepSpec


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
        f"# {plain_text(f'{history.result.name}: {trial.result.name}')}\n",
        f"{_what(history, trial, facts, spec)}\n",
        "## How to use it\n",
        fenced(usage(facts), "python"),
        _serving(facts),
        "## Scores\n",
        scores_table(history, trial),
        chosen_text(history, trial),
        "## Recipe\n",
        "The sweep file of this one trial; `orchestrate run recipe.yaml` trains it.\n",
        f"{plain_text(beyond)}\n" if (beyond := beyond_recipe(trial.result.origin)) else "",
        fenced(sweep_yaml(recipe(spec, trial.result.config)), "yaml"),
        "## Data and environment\n",
        capsule_table(history, trial, spec),
        *([] if beyond else again_part(history, trial)),
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
    values: dict[str, object] = {
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


def _indexed(metric: str, value: float, spec: SweepSpec) -> dict[str, object]:
    name, _, kind = metric.partition("/")
    entry = next((each for each in spec.evaluation if each.name == name), None)
    source = spec.data.label if entry is None or entry.data == "held_out" else entry.data
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": name, "type": source},
        "metrics": [{"type": kind, "value": value, "name": metric}],
    }


# -- sentences and tables ------------------------------------------------------------------------------


def _what(history: SweepHistory, trial: TrialHistory, facts: CardFacts, spec: SweepSpec) -> str:
    config = trial.result.config
    method = METHODS.get(config.method)
    about = f" ({plain_text(method.summary)})" if method else ""
    forms = {
        "model": "a whole model",
        "merged": "a whole model, the adapter merged into its weights",
        "adapter": "a peft adapter, to be loaded beside its base model",
    }
    source = spec.data.label
    return (
        f"{code(facts.base)} fine-tuned on {code(source)} with {code(config.method)}{about}, learning rate "
        f"{config.learning_rate:g}, {config.effective_batch_size} samples per optimizer step, "
        f"{trial.result.samples_seen:,} of {config.samples:,} samples. These files are {forms[facts.form]}: "
        f"{facts.parameters:,} numbers in {facts.dtype}."
    )


def _serving(facts: CardFacts) -> str:
    if facts.form != "adapter":
        return f"vLLM serves it as it is:\n\n{fenced('vllm serve DIR', 'bash')}"
    if not facts.plain_lora:
        return "Servers that take plain lora adapters alone, such as vLLM, need it merged: export it with `--merge`, where its method merges.\n"
    rank = f" --max-lora-rank {facts.rank}" if facts.rank and facts.rank > 16 else ""
    return f"vLLM serves it beside its base:\n\n{fenced(f'vllm serve {shlex.quote(facts.base)} --enable-lora{rank} --lora-modules tuned=DIR', 'bash')}"
