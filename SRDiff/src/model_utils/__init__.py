"""Options of the programs, and what they are put together from."""
