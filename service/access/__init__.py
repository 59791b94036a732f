"""Who may do what: API keys, rates, hosts and origins. Everything here runs before a request reaches a path operation."""
