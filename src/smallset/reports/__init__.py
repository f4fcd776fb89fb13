"""What people look at: figures, charts, heat maps, the report and the model card."""
