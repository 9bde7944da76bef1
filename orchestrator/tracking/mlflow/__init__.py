"""Runs in MLflow: sink, store, reading back, UI. Only ``sink`` imports mlflow."""
