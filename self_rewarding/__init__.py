"""Self-rewarding (Yuan et al. 2401.10020): a model answers, scores its answers, and trains on the pairs they make.

It runs `pacos` commands and reads the files that stages wrote; it imports no other stage.
"""
