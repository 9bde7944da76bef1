"""``record-export``: finished sweeps as recorded sweeps, from their folder or from MLflow."""
