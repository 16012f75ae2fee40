"""Runs a model's own init."""
