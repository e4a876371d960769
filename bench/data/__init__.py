"""Readers of the real data formats: lazy, map-style, picklable; each lists its ``ids`` without decoding."""

from bench.data.boxes import BoxedImages
from bench.data.eraser import Eraser
from bench.data.imagenet import HuggingFaceImages, ImageNet
from bench.data.imagenet_segmentation import ImageNetSegmentation
from bench.data.movies import Movies
from bench.data.own_images import ImageFolder
from bench.data.own_tables import ImageTable, TextTable
from bench.data.own_texts import TextFile
from bench.data.samples import ImageSample, Limited, TextSample

__all__ = [
    "BoxedImages",
    "Eraser",
    "HuggingFaceImages",
    "ImageFolder",
    "ImageNet",
    "ImageNetSegmentation",
    "ImageSample",
    "ImageTable",
    "Limited",
    "Movies",
    "TextFile",
    "TextSample",
    "TextTable",
]
