"""Explanations as a service: a line and a process of their own, so that they delay no live traffic."""
