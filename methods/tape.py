"""The names that users of :mod:`methods.relevance` import from its older place."""

from methods.relevance.tape import *  # noqa: F403
