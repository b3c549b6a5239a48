"""The chart, and the code that its dashboards come from."""
