"""The search: candidates, screening, local descent, acceptance, report (docs/theory.md, sections 8 and 9)."""
