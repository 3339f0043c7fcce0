"""What crosses a boundary: gRPC contracts and every signed byte format.

Pure: nothing here reads a file, a socket, a clock or a database.
"""
