"""A library for the frameworks of others: each file is one, and is imported by name."""
