"""What stays the same for every trial of a sweep: model, data, evaluation, training."""
