"""A config becomes a run: losses, noise, optimizers, schedules, the loop, checkpoints."""
