"""``extend``: a sweep that has ended goes on."""
