"""What the cells of the store come to: numbers with intervals, and tables of them."""
