"""The gRPC contracts, ``package yinxin.v1``: ``*.proto`` and the modules generated from them.

``make generate`` writes every ``*_pb2*`` module here; none is edited by hand.
"""
