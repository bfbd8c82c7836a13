"""What is computed from stored values, without the model."""
