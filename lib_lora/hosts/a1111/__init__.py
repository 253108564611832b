"""AUTOMATIC1111's stable-diffusion-webui 1.9 and 1.10: the model is an ldm module tree in ``shared.sd_model``."""
