"""The page: hand-written HTML, CSS and one module, served as they are."""
