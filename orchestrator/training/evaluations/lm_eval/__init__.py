"""Tasks of EleutherAI's lm-eval."""
