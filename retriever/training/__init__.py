"""Training of heads and adapters over cached embeddings.  Nothing on the search path imports this package."""
