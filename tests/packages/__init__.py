"""Our metrics beside those of Quantus and captum, in an environment of its own: ``make compare-packages``."""
