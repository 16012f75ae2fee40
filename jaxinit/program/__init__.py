"""Models as jaxprs: traced, read for layers, and replayed with statistics."""
