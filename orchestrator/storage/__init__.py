"""The sweep's folder: its files and their formats. The owner of every name in the storage."""
