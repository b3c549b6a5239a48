"""Robustness probes: texts and trials that ask how easily a guard is fooled."""
