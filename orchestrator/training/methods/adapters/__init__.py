"""LoRA, its variants, and peft's other methods."""
