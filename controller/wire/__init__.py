"""The only place that turns messages into values and back. What it accepts is valid; what it refuses it names."""
