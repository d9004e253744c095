"""What people and programs ask of the gateway; hosts have paths of their own."""
