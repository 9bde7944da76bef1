"""Words that several outputs share: numbers, verdicts, origins."""
