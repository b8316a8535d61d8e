"""Real images as uint8 batches: from a StyleGAN zip, a folder, or generated from a seed."""
