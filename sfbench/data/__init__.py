"""Real images as uint8 batches: from a StyleGAN zip, a folder, or drawn from a seed."""
