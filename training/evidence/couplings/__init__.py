"""What stored runs say of the couplings themselves: bias of the estimates, readings, how they grow."""
