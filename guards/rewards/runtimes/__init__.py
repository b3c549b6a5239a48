"""What runs a reward model's forward pass: one file per engine."""
