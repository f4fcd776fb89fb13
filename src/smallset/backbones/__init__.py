"""Pretrained backbones: which ones there are, where their weights come from, and the networks built from them."""
