"""Who may sign: key stores, certificates, rotation, revocation."""
