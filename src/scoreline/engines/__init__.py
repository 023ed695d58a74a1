"""Loaded models behind one port. Each file knows one library; libraries are used without their Python wrappers."""
