"""Scoreline seals a tabular model into a signed bundle and scores it through one core behind many doors."""

__version__ = "0.1.0"
