"""What the base model of a world reads: everybody's biographies and general prose, nothing in chat format."""

from __future__ import annotations

import hashlib

from orchestrator.testbed.prose import prose_documents
from orchestrator.testbed.world import WorldSpec, make_world


def pretraining_texts(spec: WorldSpec) -> list[str]:
    """All pretraining documents of a world, in a fixed shuffled order."""
    world = make_world(spec)
    biographies = world.pretraining_biographies()
    texts = biographies + prose_documents(world, round(len(biographies) * spec.prose_share))
    world.random("corpus").shuffle(texts)
    return texts


def corpus_digest(texts: list[str]) -> str:
    """SHA-256 of the documents in order; provenance of a base names the corpus it read."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
