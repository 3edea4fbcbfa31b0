"""Does what the core asks for.  Takes no decision of its own."""
