"""What ci/bad_input_table.py is made of."""
