"""What somebody brings of their own, checked against what the benchmark expects of it, on tiny data."""
