"""The search space: domains, methods with their hyperparameters, and the full grid."""
