"""A chat backend that records what its model costs: FastAPI, server-sent events, Clerk's user ids."""
