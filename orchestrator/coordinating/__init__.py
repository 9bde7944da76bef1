"""One sweep's state in the driver: coordinator, queues, audits and repeats. Knows no Ray, torch or MLflow."""
