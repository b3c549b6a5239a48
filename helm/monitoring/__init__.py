"""The dashboards, and what they and the rules ask of Prometheus. What ships is JSON and YAML in helm/wardgate."""
