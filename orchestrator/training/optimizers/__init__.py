"""Optimizers: one file and one entry in `orchestrator.spec.trial.optimizers` each."""
