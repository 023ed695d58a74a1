"""Use cases as plain functions over ports; command line and APIs share them."""
