"""What people call: the API and the console, on a listener of their own."""
