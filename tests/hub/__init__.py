"""A stand-in for Qualcomm AI Hub on this machine's loopback, for the vendor's own client.

It speaks the client's protobufs over HTTP, runs uploaded graphs on ONNX Runtime, quantises with
ONNX Runtime's quantizer, measures its profiles, and fails on request. `python -m tests.hub` starts
it alone.
"""
