"""The ground floor: the words, the ports, the stores, and how a sentence becomes moments."""
