"""How cells are computed: the state machine on top, the loop below it."""
