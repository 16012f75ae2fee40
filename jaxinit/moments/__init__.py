"""Mean and variance of a typical entry, followed through a program without data."""
