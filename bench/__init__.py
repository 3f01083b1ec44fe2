"""What measures and shows Headrace: the demo, the simulated shop behind it, and the benchmarks."""
