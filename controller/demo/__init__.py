"""The demonstration day: the data of a real community, and its clients, which talk to the service over gRPC alone."""
