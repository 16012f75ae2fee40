"""Ordinary Flax models with real input, to be analyzed."""
