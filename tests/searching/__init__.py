"""Searches whose trials take no time: for tests, chaos programs and benchmarks."""
