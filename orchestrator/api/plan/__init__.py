"""``validate`` and ``plan``: everything that can be said of a sweep before anything is trained."""
