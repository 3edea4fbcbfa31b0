"""What `coordkit demo` is made of: a server, a crew of processes, and three acts."""
