"""What has a size: modules, packages, and what other tools make of the same bytes."""
