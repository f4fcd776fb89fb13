"""The commands of `smallset`: begin a pipeline, label photos, explain, measure and export a model."""
