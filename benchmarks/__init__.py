"""What Rackrise costs, measured; each module is a program."""
