"""Run explanation methods over models and data sets, and put the results into comparable tables.

Importing this package first makes ``import timm`` and ``import transformers`` work wherever torch does, and
``import methods`` and ``import metrics`` find the packages beside it.
"""

from bench._own_packages import import_from_beside
from bench._torchvision_guard import ensure_torchvision_importable

import_from_beside()
ensure_torchvision_importable()
