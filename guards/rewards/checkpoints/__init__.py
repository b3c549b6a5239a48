"""Reward models and safety classifiers that others trained, served from their checkpoints as they are."""
