"""How a new version of a model takes the place of the old one: what may happen next, and what evidence asks for."""
