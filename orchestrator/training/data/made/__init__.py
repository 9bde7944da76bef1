"""Training rows that are made with the model; nothing yet."""
