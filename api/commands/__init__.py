"""The commands of `reelseek`.  Each file is a command: its docstring is the help, `arguments` declares, `run` does."""
