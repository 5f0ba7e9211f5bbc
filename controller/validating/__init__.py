"""Recomputes a settled window from what was signed, for validators: they sign what they have computed themselves.

Nothing here asks the service anything: it gets a window's evidence, and finds the first thing in it that does not
follow from the rest, or names what could not be computed again.
"""
