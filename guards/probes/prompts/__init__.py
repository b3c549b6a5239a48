"""Sets of prompts that probes draw from."""
