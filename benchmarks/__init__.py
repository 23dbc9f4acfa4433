"""One command per headline number: `python -m benchmarks.<name>` prints JSON and writes `benchmarks/results/<name>.json`."""
