"""Media into timed words.  Each file is a recognizer."""
