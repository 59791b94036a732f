"""Align Your Steps as published: coordinate search on a Monte-Carlo estimate of the bound (Sabour, Fidler, Kreis 2024).

Reading order: importance_sampling, klub_estimator, coordinate_search.
"""
