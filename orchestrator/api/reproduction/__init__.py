"""``reproduce``: published experiments at a scale that fits."""
