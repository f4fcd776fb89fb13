"""The outputs of frozen networks for all photos, computed once: features of a project, activations of the chapter."""
