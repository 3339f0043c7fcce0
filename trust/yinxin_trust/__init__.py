"""A region's service: issue, store, log, change and show electronic licences."""
