"""Learning reward models from data, and measuring them."""
