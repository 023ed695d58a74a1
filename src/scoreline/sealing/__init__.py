"""The trainer's side: a trained model and reference rows in, a signed bundle out.

The only place that loads models with the libraries they were trained with.
"""

from scoreline.sealing.seal import seal

__all__ = ["seal"]
