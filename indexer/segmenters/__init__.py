"""Where one event ends and the next begins.  Each file is a segmenter."""
