"""The laws of other frameworks and code bases."""
