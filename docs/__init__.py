"""The documentation: pages by hand, a reference generated from the code, pictures drawn from it."""
