"""Robustness probes at work: what they are run against, in which process, when, and what is remembered of them."""
