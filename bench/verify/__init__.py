"""Verification: does this installation compute what the authors' code and the definitions say?

``python -m bench.verify golden=FOLDER`` compares methods and metrics with stored numbers (goldens) on models that
it has never seen: a model comes from its configuration and its weights, what is asked from the names of the stored
arrays, which :mod:`bench.verify.grammar` reads.
"""
