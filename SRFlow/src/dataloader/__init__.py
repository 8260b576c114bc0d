"""Training samples and the pictures they are cut from."""
