"""Each kind of device written plainly into a pyomo block: its variables, its rules, its cost, and what to read back."""
