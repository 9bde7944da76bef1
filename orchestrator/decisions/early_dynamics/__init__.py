"""Early dynamics: features of the training signals up to a milestone."""
