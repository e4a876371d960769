"""One sample explained: ``python -m bench explain photo.jpg``, or one line in a notebook.

Uses the models, methods and settings of the benchmark, so a map is the one that the benchmark would score.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    """What is exported, imported when it is asked for: the command's ``--help`` needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "explanation" if name.endswith("Explanation") else "explainer"
    return getattr(import_module(f"{__name__}.{module}"), name)
