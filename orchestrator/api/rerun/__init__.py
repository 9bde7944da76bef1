"""``rerun``: train a trial's recipe again and say whether it gives the same."""
