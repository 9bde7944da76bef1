"""Code of the user's own, named in a sweep file: found, carried along, loaded. Standard library only."""
