"""What is explained with unless something else is asked for, and the kinds of files that are written."""

SUITE = "embedded"
METHOD = "transformer_attribution"
FIGURES = (".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf")
PAGES = (".html",)
