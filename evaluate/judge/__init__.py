"""`pacos judge`: a local model grades answers, scores them, or compares them blind."""
