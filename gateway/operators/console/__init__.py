"""The console: what an operator opens in the morning. Pages are made here and need no script."""
