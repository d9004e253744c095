"""How it runs: worker, dispatcher, deployments; the one place where parts are put together."""
