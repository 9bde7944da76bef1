"""Methods that train a subset of the model's own parameters."""
