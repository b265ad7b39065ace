"""One TOML file a benchmark."""
