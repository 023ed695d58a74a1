"""From the record back to the answer: recomputed bit for bit, by another version, and explained."""
