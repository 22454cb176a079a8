"""Configuration: `dagnats.yaml`, the environment and flags, each value with where it is from."""
