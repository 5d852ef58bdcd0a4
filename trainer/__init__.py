"""The network and everything that makes its weights."""
