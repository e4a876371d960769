"""What a method is measured by: each task turns maps into rows per sample, and rows into metrics."""

from bench.tasks.perturbation import Perturbation
from bench.tasks.segmentation import Segmentation
from bench.tasks.task import Oracle, Task
from bench.tasks.token_f1 import TokenF1

__all__ = ["Oracle", "Perturbation", "Segmentation", "Task", "TokenF1"]
