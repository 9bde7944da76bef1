"""An encoder pretrained by masking words and then fine-tuned as a classifier, with transformers.Trainer.

It is an ordinary script: run it alone with ``python encoder_classifier.py``, or as a sweep with encoder_classifier.yaml.
"""

import argparse

import numpy as np
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

from orchestrator.integrations import SweepCallback, sweep_arguments
from orchestrator.testbed.sources import base_model_path, load_rows


def main():
    """Train one model."""
    options = read_options()
    set_seed(options.seed)
    tokenizer = AutoTokenizer.from_pretrained(base_model_path())
    tokenizer.add_special_tokens({"mask_token": "<|mask|>"})
    rows, labels = questions(tokenizer)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=options.width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * options.width,
        max_position_embeddings=128,
        num_labels=len(labels),
        pad_token_id=tokenizer.pad_token_id,
    )
    encoder = pretrained_by_masking(config, tokenizer, rows, options.masked_share)
    model = BertForSequenceClassification(config)
    model.bert.load_state_dict(encoder.bert.state_dict(), strict=False)

    arguments = {"output_dir": "encoder", "learning_rate": options.learning_rate, "max_steps": 60, "seed": options.seed}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(use_cpu=True, **{**arguments, **sweep_arguments()}),
        train_dataset=rows[200:],
        eval_dataset=rows[:200],
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda told: {"accuracy": float((np.argmax(told[0], -1) == told[1]).mean())},
    )
    callback = SweepCallback()  # it finds the trial of its process by itself, and does nothing outside of a sweep
    trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=callback.resume_from_checkpoint)
    print(trainer.evaluate())


def read_options():
    """Return the options of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--masked-share", type=float, default=0.15)
    return parser.parse_args()


def questions(tokenizer):
    """Return tokenised questions of the test bed, each labelled with what it asks about, and the labels."""
    found = load_rows("testbed:sft?rows=800")
    labels = sorted({row["kind"] for row in found})
    return [
        {"input_ids": tokenizer(row["messages"][0]["content"])["input_ids"][:128], "labels": labels.index(row["kind"])}
        for row in found
    ], labels


def pretrained_by_masking(config, tokenizer, rows, masked_share):
    """Return an encoder that has learnt to fill in words for a few steps, on the questions alone."""
    model = BertForMaskedLM(config)
    arguments = TrainingArguments(
        output_dir="unused",
        max_steps=20,
        per_device_train_batch_size=16,
        learning_rate=1e-3,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    texts = [{"input_ids": row["input_ids"]} for row in rows]
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=masked_share)
    Trainer(model=model, args=arguments, train_dataset=texts, data_collator=collator).train()
    return model


if __name__ == "__main__":
    main()
