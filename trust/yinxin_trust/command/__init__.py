"""Commands of a region's own machine: found it, serve it, enrol authorities, examine it.

The command line of the SDK finds them through the entry-point group
``yinxin.commands``, one module each, and imports only the one that is used.
"""
