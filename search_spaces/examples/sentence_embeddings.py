"""Sentence embeddings with a contrastive loss (InfoNCE, van den Oord et al. 2018): two biographies of a person belong together."""

import torch
from transformers import AutoModel, AutoTokenizer

from orchestrator.testbed.sources import base_model_path
from orchestrator.testbed.world import WorldSpec, make_world

HELD_OUT = 64


def train(trial):
    """Train one trial of the sweep in sentence_embeddings.yaml."""
    torch.manual_seed(trial.seed)
    pairs, held_out = pairs_of_people()
    tokenizer = AutoTokenizer.from_pretrained(base_model_path())
    checkpoint = trial.latest_checkpoint()  # None where the trial starts
    encoder = AutoModel.from_pretrained(checkpoint or base_model_path())
    optimizer = torch.optim.AdamW(encoder.parameters(), weight_decay=trial.config.weight_decay)
    if checkpoint is not None:
        optimizer.load_state_dict(torch.load(checkpoint / "optimizer.pt", weights_only=True))

    while trial.samples_seen < trial.samples:
        seen = min(trial.samples_seen + trial.effective_batch_size, trial.samples)
        step = trial.samples_seen // trial.effective_batch_size
        batch = rows_of_step(pairs, trial.seed, trial.samples_seen, seen)
        optimizer.param_groups[0]["lr"] = trial.learning_rate_at(step)
        loss = contrastive_loss(encoder, tokenizer, batch, trial.params)
        optimizer.zero_grad()
        loss.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(encoder.parameters(), trial.config.clip_norm or float("inf"))
        optimizer.step()

        scores = None
        if trial.reaches_milestone(seen):
            scores = evaluate(encoder, tokenizer, held_out, trial.params)
            with trial.save_checkpoint(seen) as folder:
                encoder.save_pretrained(folder)
                torch.save(optimizer.state_dict(), folder / "optimizer.pt")
        trial.report(samples_seen=seen, loss=loss.item(), grad_norm=grad_norm.item(), scores=scores)
        if trial.should_stop():
            return


def pairs_of_people():
    """Return pairs of nameless texts for training, and pairs of people that training never shows."""
    world = make_world(WorldSpec())

    def told(person, variant):
        return world.biography(person, variant).replace(person.name, "somebody")

    pairs = [(told(person, 0), told(person, 1)) for person in world.people]
    return pairs[HELD_OUT:], pairs[:HELD_OUT]


def rows_of_step(pairs, seed, first, last):
    """Return the pairs of samples ``first`` to ``last``; the order depends on seed and epoch alone, so a resumed trial goes on in it."""
    rows = []
    for sample in range(first, last):
        epoch, place = divmod(sample, len(pairs))
        order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        rows.append(pairs[order[place]])
    return rows


def embed(encoder, tokenizer, texts, pooling):
    """Return unit vectors ``(texts, width)``."""
    tokens = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=96)
    states = encoder(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1)
    if pooling == "mean":
        pooled = (states * mask).sum(1) / mask.sum(1)
    else:
        pooled = states[torch.arange(len(texts)), mask.sum(1).squeeze(-1) - 1]
    return torch.nn.functional.normalize(pooled, dim=-1)


def contrastive_loss(encoder, tokenizer, pairs, params):
    """Return the cross-entropy of finding each text's partner among those of the batch."""
    left, right = (embed(encoder, tokenizer, list(texts), params["pooling"]) for texts in zip(*pairs, strict=True))
    similarity = left @ right.T / params["temperature"]
    return torch.nn.functional.cross_entropy(similarity, torch.arange(len(pairs)))


def evaluate(encoder, tokenizer, pairs, params):
    """Return the share of texts whose nearest neighbour is their partner."""
    with torch.no_grad():
        left, right = (embed(encoder, tokenizer, list(texts), params["pooling"]) for texts in zip(*pairs, strict=True))
    found = (left @ right.T).argmax(-1) == torch.arange(len(pairs))
    return {"retrieval/recall_at_1": found.float().mean().item()}
