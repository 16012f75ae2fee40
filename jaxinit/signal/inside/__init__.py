"""Statistics taken inside a step of training; `observe` is their door."""
