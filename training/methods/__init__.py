"""The pruning methods that can be compared, one file or folder each; `training.methods.registry` lists them."""
