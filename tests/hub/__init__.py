"""A stand-in for Qualcomm AI Hub on this machine's loopback, for the vendor's own client.

It speaks the client's protobufs over HTTP, runs what is uploaded on ONNX Runtime, quantises with
ONNX Runtime's quantiser, measures its profiles, and fails when told to. `python -m tests.hub`
starts it by itself.
"""
