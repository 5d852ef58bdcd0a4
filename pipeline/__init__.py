"""The live loop: cameras in, identities out."""
