"""What the report of a sweep is made from."""
