"""What the service remembers: runs of robustness probes, and who may do what only one replica should do."""
