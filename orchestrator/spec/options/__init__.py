"""Options of what a sweep file names: kinds, bounds, defaults; declared once, by a dataclass."""
