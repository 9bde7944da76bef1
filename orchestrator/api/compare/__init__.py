"""``compare``: two or more sweeps side by side."""
