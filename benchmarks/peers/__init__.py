"""What other tools prescribe for the same task: a model from a few thousand photos and a pretrained network."""
