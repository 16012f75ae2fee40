"""From what was measured to what is wrong, and what mends it."""
