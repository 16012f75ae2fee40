"""Greedy layer-wise pre-training of dense stacks."""
