"""Probes on the guard: can its verdict be flipped?"""
