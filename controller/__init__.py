"""The service that joins them: API, store, window life, settlement, and the command."""
