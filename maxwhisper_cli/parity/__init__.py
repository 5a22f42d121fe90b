"""Distance of an implementation from `cpu`, rung by rung from the weights to the text."""
