"""Probes that follow the classifier's own gradients: a gauge of sensitivity, and a guide for changes of words."""
