"""Measures what we claim, beside the peers we compare ourselves with: ``python -m benchmarks --help``."""
