"""From a request to its outcome, without Redis: the pipeline, the paper's search, a curve's, and what they are made of."""
