"""Data strategies: which rows a trial sees and in which order; one file and one entry in `orchestrator.spec.trial.data_strategies` each."""
