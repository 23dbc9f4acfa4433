"""One command per headline number: `python -m benchmarks.<name>` prints JSON; `--save` keeps it in `results/`."""
