"""Training with gates."""
