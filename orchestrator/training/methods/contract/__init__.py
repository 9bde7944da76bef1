"""The hooks of a fine-tuning method, and the structure of the models they meet."""
