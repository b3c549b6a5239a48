"""Probes on the reward itself: does it pay for anything but a good answer?"""
