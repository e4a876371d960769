"""Unmodified models from timm and transformers, with what a task needs to know about them."""

from bench.models.image import ImageModel
from bench.models.text import TextModel

__all__ = ["ImageModel", "TextModel"]
