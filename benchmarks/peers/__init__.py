"""What others prescribe for the same job: a model of a few thousand photos, from a pretrained network."""
