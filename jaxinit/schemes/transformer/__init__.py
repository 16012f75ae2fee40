"""Transformers: laws by projection and by depth."""
