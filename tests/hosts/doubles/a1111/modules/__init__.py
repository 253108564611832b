"""A stand-in for the part of A1111's ``modules`` that we touch: its signatures, and the behaviours that hurt a trainer.

Around it are real ``ldm`` classes; images are really sampled, LoRA files are really merged and left in the weights.
"""
