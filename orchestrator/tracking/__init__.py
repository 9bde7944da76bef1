"""What is remembered: the `Tracker` protocol and its MLflow implementation.

Import from the modules: `tracker` (records and protocol), `opening` (`open_tracker`,
`check_tracking_uri`), `ui` (how to look at it). mlflow is imported by `mlflow_sink` alone, and only
once the delivery thread runs.
"""
