"""The grid operator's limits: journaled, in force at once, kept with solver, database and chain stopped."""
