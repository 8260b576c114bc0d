"""Where SRFlow's data lie, and the program that makes them."""
