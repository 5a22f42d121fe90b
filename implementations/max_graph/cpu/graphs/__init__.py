"""Graph builders of the CPU; every file here is compiled into its artifacts."""
