"""Real servers, real processes, a faulty network and checked histories, for tests."""
