"""Reward models: one encoder, several scalar heads, calibrated."""
