"""What the journal holds: one frozen class per kind of record, and the list of the kinds."""
