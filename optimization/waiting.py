"""Small costs that let ties go the way owners would choose: early, and in one go."""

WAITING_COST = 1e-5
"""Default currency per kWh and hour of delay: a hundredth of a cent a day, far below any tariff's step."""

START_COST = 5e-4
"""Default currency per start of an appliance: enough that it runs in one go where prices tie, as its owner would."""
