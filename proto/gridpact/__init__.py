"""The Gridpact API: generated message and service code lives in ``gridpact.v1``."""
