"""The doors: each decodes what comes in, has it scored by the core, and encodes the answer; none knows another."""
