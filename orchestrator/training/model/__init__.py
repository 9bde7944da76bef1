"""Base models and tokenizers, loaded safely."""
