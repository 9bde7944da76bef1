"""A trained trial as a folder that transformers and peft read."""
