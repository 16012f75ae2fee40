"""Remedies: named by cause, tried by analyzing the model again, ranked."""
