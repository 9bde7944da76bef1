"""``evaluate``: scores of a sweep's checkpoints, beside or after the training."""
