"""The reference, made from the code each time that the documentation is built."""
