"""A region's service: it issues, signs, stores, logs and publishes electronic licences."""
