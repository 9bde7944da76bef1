"""What one configuration means: batch arithmetic, schedule, identity."""
