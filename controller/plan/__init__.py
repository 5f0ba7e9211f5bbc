"""Communities and plans as files: reading, sampling, showing, explaining."""
