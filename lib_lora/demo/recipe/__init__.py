"""How the committed weights were made: pictures, autoencoder, denoiser, export. Each stage resumes."""
