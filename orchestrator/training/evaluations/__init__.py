"""Scorers of evaluation sets, one folder a kind. A kind is its scorer here and its entry in `orchestrator.spec.evaluations`."""
