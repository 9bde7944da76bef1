"""``report``: a sweep as a page that a person reads."""
