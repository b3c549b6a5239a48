"""Attacks on single words by whoever can only ask: nothing of the target is known but its answers."""
