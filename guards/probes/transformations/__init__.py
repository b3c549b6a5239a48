"""Seeded rewritings of a text, for training augmentation and for robustness probes; docs/probes.md lists them."""
