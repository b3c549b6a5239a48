"""Seeded rewritings of a text, for training augmentation and for robustness probes; docs/probe-kinds.md lists them."""
