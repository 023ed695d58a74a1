"""Drift: what was decided of late, held against the reference that the bundle was sealed with."""
