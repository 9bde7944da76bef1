"""The table of fine-tuning methods: one entry each, standard library only.

Learning rates. Every method has its own range, because a sweep with one learning rate for all methods
compares learning rates, not methods. Rule: the default range is log-uniform over a factor 10 either
side of ``centre``. ``centre`` is, in this order: the best-scoring rate of peft's own MetaMathQA benchmark
(Llama-3.2-3B; "bench" below), the method's paper ("paper"), or, where the benchmark's rate left the
method almost untrained, a higher one ("raised"). It suits models of 0.5-8B parameters; models of a
few million parameters want 10 to 100 times more, so give a range of your own there.

Families are also the cohorts of early stopping: training dynamics (gradient norms, speed of the early
loss) are comparable inside a family, not across families.
"""

from __future__ import annotations

from orchestrator.spec.methods.entry import MethodEntry
from orchestrator.spec.methods.lora import LORA_ENTRIES
from orchestrator.spec.methods.low_rank import LOW_RANK_ENTRIES
from orchestrator.spec.methods.prompt import PROMPT_ENTRIES
from orchestrator.spec.methods.scaling import SCALING_ENTRIES
from orchestrator.spec.methods.sparse import SPARSE_ENTRIES
from orchestrator.spec.methods.weights import WEIGHT_ENTRIES

ENTRIES: dict[str, MethodEntry] = {
    **WEIGHT_ENTRIES,
    **LORA_ENTRIES,
    **LOW_RANK_ENTRIES,
    **SPARSE_ENTRIES,
    **SCALING_ENTRIES,
    **PROMPT_ENTRIES,
}
"""Every method that a sweep file can name. All else that is known of methods follows from this table."""

EXCLUDED: dict[str, str] = {
    "xlora": "it gates lora adapters that were trained before, so it is no way to train from a base model",
    "arrow": "it routes between lora adapters without training anything",
    "loftq": "it starts from a 4-bit base and needs bitsandbytes, which this package does not install",
    "qlora": "it needs a 4-bit base (bitsandbytes), which this package does not install",
    "qalora": "it needs a GPTQ-quantised base",
    "mixed": "adapters of several kinds at once cannot be saved and resumed as one method",
    "bone": "peft replaced it by miss",
}
"""Known fine-tuning methods that cannot be chosen, and why."""
