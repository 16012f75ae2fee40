"""Models of every library, as two programs: one draws weights, one runs."""
