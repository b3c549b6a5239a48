"""The real service under mixed load before a real Prometheus: does every panel and every alert have its figures?"""
