"""Probes on the wrapped model, bare and behind the guard: what does it do when it should not, and fail to do?"""
