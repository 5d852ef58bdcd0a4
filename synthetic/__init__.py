"""A rendered multi-camera site with exact ground truth."""
