"""The record held against what was signed: nothing altered, removed, inserted or reordered, no segment missing."""
