"""Variants of LoRA that need more than their peft config: starts from data, losses, optimizers, state."""
