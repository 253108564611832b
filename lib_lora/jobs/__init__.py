"""One GPU, many wishes: a queue of jobs, their progress and their events."""
