"""After training: compare epochs and weights, tune blocks, merge, and learn the base model's own style."""
