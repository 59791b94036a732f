"""Signed messages about ended jobs, and what keeps them from becoming requests that the service was talked into."""
