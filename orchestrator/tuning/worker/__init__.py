"""One trial inside a worker, milestone by milestone; knows no Ray."""
