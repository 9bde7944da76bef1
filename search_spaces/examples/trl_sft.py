"""TRL's SFTTrainer with LoRA: an existing script becomes a sweep by the callback and the arguments."""

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from orchestrator.integrations import SweepCallback, sweep_arguments
from orchestrator.testbed.sources import base_model_path, load_rows


def train(trial):
    """Train one trial of the sweep in trl_sft.yaml."""
    rows = Dataset.from_list([{"messages": row["messages"]} for row in load_rows("testbed:sft?rows=480")])
    parts = rows.train_test_split(test_size=80, seed=0)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base_model_path()),
        processing_class=AutoTokenizer.from_pretrained(base_model_path()),
        args=SFTConfig(max_length=128, use_cpu=True, bf16=False, **sweep_arguments(trial)),
        train_dataset=parts["train"],
        eval_dataset=parts["test"],
        peft_config=LoraConfig(r=trial.params["r"], lora_alpha=2 * trial.params["r"], target_modules="all-linear"),
    )
    trainer.add_callback(SweepCallback(trial))
    checkpoint = trial.latest_checkpoint()
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
