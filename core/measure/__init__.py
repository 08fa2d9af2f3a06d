"""Metrics, error budget, tensor errors, the contract's judgement."""
