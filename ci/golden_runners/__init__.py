"""Runners of `ci/check_goldens.py`: one module per model, and `common` for what belongs to none.

A new model needs one new module here and nothing else. Its functions say by a decorator of `registry` what they run:

    @fixture("irn_x*.npz", modes=MODES)     # compares the network with every quantity of such a file
    @schedule("irn_warmup10_cosine")        # gives the learning rates of such a schedule in lr_schedules.npz
    @full_size("irn_*")                     # builds the network that such a file of full_size_keys/ lists
"""
