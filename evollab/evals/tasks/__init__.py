"""The benchmarks, one file each; the file's name is what the benchmark is called."""
