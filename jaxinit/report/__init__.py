"""Reports made visible: a table for a terminal or a pipe, and a plot."""
