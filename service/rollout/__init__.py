"""Which version of the reward model serves: versions, a canary's share, shadows, promotion and rollback."""
