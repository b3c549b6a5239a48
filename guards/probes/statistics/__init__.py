"""What can be said from trials, and how surely. Needs numpy at most: probes run without the `train` extra."""
