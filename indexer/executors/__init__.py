"""Who carries out a plan.  Each file is an executor."""
