"""How far a suite is: what is done, running, failed and missing."""
