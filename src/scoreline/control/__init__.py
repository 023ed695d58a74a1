"""The control plane: one steward per host."""
