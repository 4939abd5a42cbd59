"""What this project asserts, one file a topic; `dynamics.verify` checks it."""
