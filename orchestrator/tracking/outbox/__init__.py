"""The outbox: events on disk, taken to a sink by a thread."""
