"""What to run: the sweep file, its search space, batch plan, cluster profile and identity."""
