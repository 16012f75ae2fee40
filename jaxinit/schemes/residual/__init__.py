"""Residual networks: branches that start small, or as zero."""
