"""Scales and norms of tensors, learned by gradients."""
