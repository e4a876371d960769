"""The names that users of :mod:`methods.relevance.rules` import from its older place."""

from methods.relevance.rules import *  # noqa: F403
