"""Readers of media files.  Each file is a reader; they run in a decoder child only."""
