"""One file per gRPC service: decode, call, encode."""
