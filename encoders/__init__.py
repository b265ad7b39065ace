"""Frames, sounds and sentences become vectors.  Each file is one family."""
