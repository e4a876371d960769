"""Run explanation methods over models and data sets, and put the results into comparable tables.

Importing this package first makes ``import timm`` and ``import transformers`` work wherever torch does.
"""

from bench._torchvision_guard import ensure_torchvision_importable

ensure_torchvision_importable()
