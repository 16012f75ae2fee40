"""What each parameter of a model does, and how its layers hang together."""
