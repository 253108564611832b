"""Images and captions become batches."""
