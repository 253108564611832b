"""How the committed weights were made: pictures, autoencoder, denoiser, export. Every stage resumes where it stopped."""
