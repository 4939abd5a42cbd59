"""How pruning gates move."""
