"""Unmodified models from timm, transformers and elsewhere, with what a task needs to know about them."""

from bench.models.base import Batch, Maps, Model
from bench.models.image import ImageClassifier, ImageModel, TorchImageModel, TransformersImageModel
from bench.models.text import TextModel

__all__ = [
    "Batch",
    "ImageClassifier",
    "ImageModel",
    "Maps",
    "Model",
    "TextModel",
    "TorchImageModel",
    "TransformersImageModel",
]
