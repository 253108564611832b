"""Tune by taste: which of two pictures is better, asked a few dozen times, becomes settings that draw better ones."""
