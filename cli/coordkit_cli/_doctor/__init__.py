"""What `coordkit doctor` is made of: facts, what each means, and the verdict."""
