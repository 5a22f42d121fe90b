"""Graph builders of the GPU; every file here is compiled into its artifacts."""
