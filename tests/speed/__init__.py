"""How fast it is: ``make speed`` measures and compares with bounds, ``make profile`` says where time goes.

Everything is a ratio within one run, because machines differ. The unit is F: one plain forward pass per image
of the same, unmodified model at batch 8, without gradients, in float32, in the same process.
"""
