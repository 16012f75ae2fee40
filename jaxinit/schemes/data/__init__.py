"""Unit variance of every layer: by data, or by moments through the graph."""
