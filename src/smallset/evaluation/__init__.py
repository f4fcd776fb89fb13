"""Metrics with uncertainty, model comparison, issues, learning curves. None needs TensorFlow."""
