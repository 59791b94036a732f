"""The mathematics of sampling schedules: profile -> cost table -> schedule -> validation, a pipeline of plain values.

Reading order: noise, denoise, analytic, paths, profile (profile, integrals, cost, stability), optimize, solvers, validate, ladder,
least_squares, judge, refine, surrogate, trust_region, schedule; apart from these, profile/curve and paper.
All noise levels are noise-to-signal ratios sigma in VE coordinates, `x = x_0 + sigma eps`, in descending order.
"""
