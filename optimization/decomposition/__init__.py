"""Clearing with devices: prices by decomposition, whole numbers by descent."""
