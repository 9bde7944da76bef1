"""From the runs of a reproduction to what they say of each finding."""
