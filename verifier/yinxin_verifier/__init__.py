"""Whether to believe it: a pure decision engine over evidence, and the store that gathers it."""
