"""What decides about text: no transport, no metrics, no environment."""
