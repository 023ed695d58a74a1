"""The batch door: files in, a file of scores out, whole or not at all."""

from scoreline.doors.batch.report import BatchReport, Progress
from scoreline.doors.batch.run import run_batch

__all__ = ["BatchReport", "Progress", "run_batch"]
