"""A tiny Llama, one batch, and the steps that every method goes through."""

import functools
import os
from dataclasses import dataclass

os.environ["HF_HUB_OFFLINE"] = "1"

import torch

from orchestrator.records import TrialConfig
from orchestrator.training.methods import MethodContext, build_method

VOCABULARY, LENGTH, ROWS = 128, 16, 3
LEARNING_RATE = 1e-2


def tiny_llama(tied=False, layers=2, seed=0):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def tiny_batch():
    ids = torch.randint(1, VOCABULARY, (ROWS, LENGTH), generator=torch.Generator().manual_seed(1))
    ids[:, 4], ids[:, 5] = 5, 6
    labels = ids.clone()
    labels[:, :6] = -100
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def calibration(count):
    batch = tiny_batch()
    return [{key: value[i % ROWS][None] for key, value in batch.items()} for i in range(count)]


CONTEXT = MethodContext(steps=8, seed=3, effective_batch_size=ROWS, calibration_batches=calibration)


@dataclass
class Run:
    """A method on a model with its optimizer."""

    method: object
    model: object
    optimizer: object
    batch: dict

    @classmethod
    def start(cls, name, options=None, model=None, context=CONTEXT):
        method = build_method(name, options)
        model = method.wrap_model(tiny_llama() if model is None else model, context)
        groups = method.param_groups(model, LEARNING_RATE, 0.1)
        config = TrialConfig(name, ROWS, LEARNING_RATE, ROWS * 8)
        optimizer = method.optimizer(groups, config) or torch.optim.AdamW(
            [{**group, "lr": LEARNING_RATE * group["learning_rate_scale"]} for group in groups]
        )
        return cls(method, model, optimizer, tiny_batch())

    def logits(self, model=None):
        model = self.model if model is None else model
        model.eval()
        plain = {"input_ids": self.batch["input_ids"], "attention_mask": self.batch["attention_mask"]}
        extra = self.method.forward_kwargs(self.batch) if model is self.model else {}
        with torch.no_grad():
            return model(**plain, **extra).logits[:, -LENGTH:]

    def step(self, first, last):
        losses = []
        for step in range(first, last):
            torch.manual_seed(step)
            self.model.train()
            plain = {key: self.batch[key] for key in ("input_ids", "attention_mask")}
            logits = self.model(**plain, **self.method.forward_kwargs(self.batch)).logits[:, -LENGTH:]
            labels = self.batch["labels"][:, 1:].flatten()
            loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels)
            extra = self.method.auxiliary_loss(self.model, self.batch, step)
            (loss if extra is None else loss + extra).backward()
            self.optimizer.step()
            self.method.on_step(self.model, step)
            self.optimizer.zero_grad()
            losses.append(float(loss.detach()))
        return losses


@functools.cache
def base_logits():
    with torch.no_grad():
        return tiny_llama()(input_ids=tiny_batch()["input_ids"]).logits
