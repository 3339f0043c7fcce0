"""Real stand-ins for what a test must control: time and randomness."""
