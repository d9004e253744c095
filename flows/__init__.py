"""What happens, in which order: the four phases, and the day-two flows."""
