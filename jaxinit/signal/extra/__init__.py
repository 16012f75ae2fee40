"""What ``analyze`` measures only when asked: ``metrics=``; `measure` is the door."""
