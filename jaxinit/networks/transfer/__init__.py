"""Weights from elsewhere: loaded, grown, adapted at low rank."""
