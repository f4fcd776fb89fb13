"""Photos as pixels: file formats, decoding, batches, augmentation."""
