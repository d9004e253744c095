"""How the database comes from one shape of the models to the next."""
