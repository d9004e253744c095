"""The operators' API: what the console does, for programs. See ``/api/v1/openapi.json``."""
