"""How good are answers?  Measures, benchmarks, and what is said about a run."""
