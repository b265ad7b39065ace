"""How a query looks at the tokens of a candidate.  Each file is a reranker."""
