"""``yinxin demo``: a region from its founding to its verdicts, in a minute, for real.

Everything is the real thing: the region's commands run as their own processes,
its server has worker processes, licences travel over gRPC with mutual TLS. The
people, bodies and matters are invented.
"""
