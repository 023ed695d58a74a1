"""The record of decisions: the spool that workers write and the steward reads, and what is folded from it."""
