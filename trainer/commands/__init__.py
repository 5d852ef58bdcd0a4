"""What the commands of `python -m trainer` do, one module each."""
