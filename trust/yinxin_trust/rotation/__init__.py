"""Rotation of every key: prepare, publish, activate, retire, destroy.

`engine` takes one step at a time; each kind of key has its plan.
"""
