"""From tracked sweeps to what a person reads: live table, summary, plans."""
