"""Every file here is a part of the HTTP API: it offers `routes`, a router, and its docstring says what it is about."""
