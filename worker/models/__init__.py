"""Everything that loads weights or data: registry, diffusers folders, the bundled model, models brought by the operator."""
