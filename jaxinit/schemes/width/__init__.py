"""Width and depth: maximal update and spectral parametrizations."""
