"""Pages on this machine alone: to put photos right, and to try a model."""
