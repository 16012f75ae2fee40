"""Training for a short while: coordinate checks, races, transfer of learning rates."""
