"""Where results are kept: cells, known by what they are made of, and what is done of unfinished ones."""
