"""What computes: convnets, heads, how parts become one model, how TensorFlow runs it, how its file is written."""
