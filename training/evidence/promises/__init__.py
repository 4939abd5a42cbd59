"""Each certificate as a promise, held against what was measured after it."""
