"""Fuzzes what pacos reads: files of every format, keys of the configuration, replies of servers and models.

    python -m benchmarks.fuzz --cases 10000 [--of files config replies] [--seed 0] [--failures DIR] [--save]

Each case goes through the product's own reader in this process. It must give a value that can be written and read
again, or an error that names the place; a change that means nothing must not change the value.
"""
