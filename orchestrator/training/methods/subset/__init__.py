"""Methods that train a part of the model's own parameters."""
