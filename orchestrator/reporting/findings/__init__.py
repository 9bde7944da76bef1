"""The guidance of arXiv 2412.13337 as pre-registered tests: designs, statistics, verdicts, and the findings report."""
