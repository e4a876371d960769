"""A board of methods that anyone can add to: entries, the command that writes them and the one that checks them."""
