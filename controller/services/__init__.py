"""One gRPC servicer per kind of caller. Each reads its message, asks who calls, acts in one transaction, answers."""
