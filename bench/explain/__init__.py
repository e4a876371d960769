"""One sample explained: ``python -m bench explain photo.jpg``, or one line in a notebook.

Uses the models, methods and settings of the benchmark, so a map is the one that the benchmark would score.
"""

from bench.explain.explainer import ImageExplainer, TextExplainer, explain_image, explain_text
from bench.explain.explanation import ImageExplanation, TextExplanation

__all__ = [
    "ImageExplainer",
    "ImageExplanation",
    "TextExplainer",
    "TextExplanation",
    "explain_image",
    "explain_text",
]
