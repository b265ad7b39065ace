"""Where libraries live.  Each file is a store; its name is what settings call it."""
