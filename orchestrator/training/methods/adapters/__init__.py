"""Methods of peft: one adapter driven by their configs, and those that need more than that."""
