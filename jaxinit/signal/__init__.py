"""The analyzer: statistics of signals, their reports and verdicts."""
