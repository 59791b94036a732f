"""The search: candidates, screening, local descent, acceptance, report (docs/theory.md, section 11)."""
