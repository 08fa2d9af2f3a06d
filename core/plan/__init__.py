"""Proves that stages fit and looks every step up; nothing is executed."""
