"""Other projects' schedulers under replay: Ray Tune's, Optuna's, Syne Tune's."""
