"""One suite per port. An adapter passes it by a test class of three lines that gives its URL."""
