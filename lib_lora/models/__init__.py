"""What a base model is: its layers and their names, captions, latents and the noise schedule."""
