"""How one trial trains: data, loop, evaluation, checkpoints and methods. Knows nothing of Ray or tracking."""
