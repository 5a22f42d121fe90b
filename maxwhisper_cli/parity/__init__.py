"""How near an implementation comes to `cpu`, rung by rung from the weights to the text."""
