"""For the runtime `tensorrt`: builds engines in a child process, and checks them when opened."""
