"""How much each kind of picture counts: classes, repeats, epochs."""
