"""Numbers that fit a site: INT8 ranges, match thresholds, travel times, geometry."""
