"""Training samples and the images they are cut from."""
