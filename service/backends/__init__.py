"""The wrapped, deployed model: one file per way to reach it."""
