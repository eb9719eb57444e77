"""Signatures by keys on another machine: requests that travel there, and packages that wait for them."""
