"""Entry points, and the supervision of the process that computes."""
