"""Rungs: trials of one cohort that are judged at one samples-seen level."""
