"""Networks brought to eight bits: ranges, sensitivity, and the gate that decides whether the result is written."""
