"""The demonstration: its evaluation suite, and the seeds of its self-rewarding part (`python -m demo.rewards`)."""
