"""Tables of ERASER's data sets as they are read."""
