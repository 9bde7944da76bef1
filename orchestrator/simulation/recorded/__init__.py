"""Recorded sweeps as data: format, files, repeat noise; the shipped ones lie in ``shipped``."""
