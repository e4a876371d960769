"""How fast it is: ``make speed`` measures and compares with bounds, ``make profile`` says where time goes.

Everything is a ratio within one run, because machines differ. The unit is F: one plain forward pass per image
of the same model at batch 8, without gradients, in the same floating point type, in the same process.
"""
