"""The machinery at the boundary that every process shares: clock, database, gRPC, TLS, journal."""
