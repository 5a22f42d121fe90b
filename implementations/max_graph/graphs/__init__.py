"""Graph builders that CPU and GPU share; every file here is compiled into all artifacts."""
