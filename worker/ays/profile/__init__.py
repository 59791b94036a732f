"""What is measured of a model once, and the cost of any schedule from it.

Reading order: profile, integrals, cost, stability, curve.
"""
