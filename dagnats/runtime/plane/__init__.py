"""The control plane: runs that register workflows and start others, as far as a policy lets them."""
